"""Classify an image with a subnet of a supernet, through torch.hub.

The example of the reference's page: load a supernet, specialize it, prepare an image with
torchvision, print the five most likely of ImageNet's classes. Run it in a clone:

    python examples/classify_image.py dog.jpg                        # random weights
    python examples/classify_image.py dog.jpg --checkpoint FILE      # weights of a local file
    python examples/classify_image.py dog.jpg --pretrained           # downloads the weights
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import MobileNet_V3_Large_Weights

CLONE = Path(__file__).parents[1]
CLASS_NAMES = MobileNet_V3_Large_Weights.IMAGENET1K_V1.meta["categories"]


def main() -> None:
    """Print the five most likely classes of an image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="weight file of the supernet")
    parser.add_argument("--pretrained", action="store_true", help="download the weights")
    options = parser.parse_args()

    # 1. Load a supernet.
    supernet = torch.hub.load(
        str(CLONE),
        "ofa_supernet_mbv3_w10",
        source="local",
        pretrained=options.pretrained,
        checkpoint=options.checkpoint,
    )

    # 2. Specialize it: at random, or by kernel sizes, expand ratios and depths.
    supernet.sample_active_subnet()
    supernet.set_active_subnet(ks=7, e=6, d=4)
    subnet = supernet.get_active_subnet(preserve_weight=True).eval()

    # 3. Prepare the image.
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    images = prepare(Image.open(options.image).convert("RGB")).unsqueeze(0)

    # 4. Classify it. The largest subnet's batch-norm statistics are those in the checkpoint; any
    #    other subnet must be calibrated first (`ofa-pipeline evaluate` does).
    with torch.inference_mode():
        probabilities = torch.softmax(subnet(images)[0], dim=0)
    likely = torch.topk(probabilities, 5)
    for probability, index in zip(likely.values, likely.indices, strict=True):
        print(f"{CLASS_NAMES[index]:30s} {probability:.4f}")


if __name__ == "__main__":
    main()
