# ruff: noqa: N816 - the names are the reference's
"""Entry points of torch.hub, by the reference's names.

torch.hub.load("OWNER/REPOSITORY", "ofa_supernet_mbv3_w10", pretrained=True)
torch.hub.load("PATH/TO/CLONE", "ofa_supernet_mbv3_w10", source="local", pretrained=False)
"""

from functools import partial

from ofa_pipeline.reference.hub import ofa_specialized, ofa_specialized_get, ofa_supernet

dependencies = ["torch", "numpy", "safetensors", "requests"]

ofa_supernet_resnet50 = partial(ofa_supernet, "ofa_resnet50")
ofa_supernet_mbv3_w10 = partial(ofa_supernet, "ofa_mbv3_d234_e346_k357_w1.0")
ofa_supernet_mbv3_w12 = partial(ofa_supernet, "ofa_mbv3_d234_e346_k357_w1.2")
ofa_supernet_proxyless = partial(ofa_supernet, "ofa_proxyless_d234_e346_k357_w1.3")

resnet50D_MAC_4_1B = partial(ofa_specialized, "resnet50D_MAC@4.1B_top1@79.8")
resnet50D_MAC_3_7B = partial(ofa_specialized, "resnet50D_MAC@3.7B_top1@79.7")
resnet50D_MAC_3_0B = partial(ofa_specialized, "resnet50D_MAC@3.0B_top1@79.3")
resnet50D_MAC_2_4B = partial(ofa_specialized, "resnet50D_MAC@2.4B_top1@79.0")
resnet50D_MAC_1_8B = partial(ofa_specialized, "resnet50D_MAC@1.8B_top1@78.3")
resnet50D_MAC_1_2B = partial(ofa_specialized, "resnet50D_MAC@1.2B_top1@77.1_finetune@25")
resnet50D_MAC_0_9B = partial(ofa_specialized, "resnet50D_MAC@0.9B_top1@76.3_finetune@25")
resnet50D_MAC_0_6B = partial(ofa_specialized, "resnet50D_MAC@0.6B_top1@75.0_finetune@25")

__all__ = [
    "ofa_specialized_get",
    "ofa_supernet_mbv3_w10",
    "ofa_supernet_mbv3_w12",
    "ofa_supernet_proxyless",
    "ofa_supernet_resnet50",
    "resnet50D_MAC_0_6B",
    "resnet50D_MAC_0_9B",
    "resnet50D_MAC_1_2B",
    "resnet50D_MAC_1_8B",
    "resnet50D_MAC_2_4B",
    "resnet50D_MAC_3_0B",
    "resnet50D_MAC_3_7B",
    "resnet50D_MAC_4_1B",
]
