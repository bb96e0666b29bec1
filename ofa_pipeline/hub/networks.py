"""Networks that behave as the reference's objects do, over ours.

The reference's supernet holds an active subnet and its static networks carry their own
configuration; code that was written against it goes on working with these.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.hub.settings import ActiveSettings, Setting
from ofa_pipeline.supernet import (
    Subnet,
    Supernet,
    build_subnet,
    extract_subnet,
    load_reference_state,
    to_reference,
)
from ofa_pipeline.zoo import NetworkSpec, write_net_config


class OfaSupernet(nn.Module):
    """A supernet with an active subnet, as ``ofa_net`` of the reference returns it.

    It starts with the largest subnet active. What is set wrongly is an error that names the
    choices; the reference accepts it silently.
    """

    def __init__(self, supernet: Supernet) -> None:
        """Wrap a supernet."""
        super().__init__()
        self.supernet = supernet
        self._settings = ActiveSettings(supernet.space)

    @property
    def space(self) -> SearchSpace:
        """The search space: every choice of every dimension."""
        return self.supernet.space

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W) images with the active subnet; return logits (N, classes)."""
        logits: Tensor = self.supernet(images, self._settings.arch())
        return logits

    def set_max_net(self) -> None:
        """Make the largest subnet active."""
        self._settings.set_maximum()

    def set_active_subnet(self, *positional: Any, **settings: Any) -> None:  # noqa: ANN401
        """Set kernel sizes ``ks``, expand ratios ``e`` and depths ``d``; ResNet: ``d, e, w``.

        Each is one number for all, or a list with an entry a block (``ks``, ``e``), a block
        group (``d``; ResNet's stem first) or a width site (``w``, indices); None leaves it.

        Raises:
            ArchError: If a name, a length or a value is wrong; nothing is changed then.
        """
        names = ("ks", "e", "d") if "ks" in self._settings.choices else ("d", "e", "w")
        given = dict(zip(names, positional, strict=False))
        self._settings.set({**given, **settings})

    def sample_active_subnet(self) -> Setting:
        """Draw a subnet from Python's `random`, make it active and return its settings.

        For the same seed it draws what the reference draws.
        """
        return self._settings.sample()

    def set_constraint(self, include_list: list[Any], constraint_type: str = "depth") -> None:
        """Restrict what `sample_active_subnet` draws.

        Args:
            include_list: Choices for all entries, or a list of choices for each.
            constraint_type: ``depth``, ``expand_ratio`` or ``kernel_size``.

        Raises:
            ArchError: If the supernet has no such dimension or a value is not a choice.
        """
        self._settings.constrain(include_list, constraint_type)

    def clear_constraint(self) -> None:
        """Draw from all choices again."""
        self._settings.clear_constraints()

    def get_active_subnet(self, preserve_weight: bool = True) -> "OfaSubnet":
        """Return the active subnet as a network of its own.

        Args:
            preserve_weight: Take the supernet's weights along; otherwise they are random.

        Returns:
            A copy in the supernet's training or evaluation mode. Its batch-norm statistics are
            the supernet's: calibrate it before its accuracy is measured.
        """
        arch = self._settings.arch()
        if preserve_weight:
            subnet = extract_subnet(self.supernet, arch)
        else:
            seed = int(torch.randint(2**31, (1,)))
            classes, dropout = self.supernet.num_classes, self.supernet.dropout
            subnet = build_subnet(self.space, arch, num_classes=classes, dropout=dropout, seed=seed)
        return OfaSubnet(subnet).train(self.training)

    def get_active_net_config(self) -> dict[str, Any]:
        """Return the active subnet's configuration, as the reference's ``net.config`` files."""
        return _config_of(self.supernet, self._settings)

    def re_organize_middle_weights(self, expand_ratio_stage: int = 0) -> None:
        """Sort channels by importance, those of the first ``stage + 1`` ratios protected."""
        from ofa_pipeline.supernet import sort_channels

        ratios = sorted(self.space.block_groups[-1].expand_ratios, reverse=True)
        sort_channels(self.supernet, trained_expand_ratios=ratios[: expand_ratio_stage + 1])

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - torch's signature
        """Return the weights by the reference's names."""
        del args, kwargs
        return to_reference(self.supernet)

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        assign: bool = False,
    ) -> Any:  # noqa: ANN401
        """Load weights by the reference's names, in any of its spellings.

        Raises:
            CheckpointError: If an entry is missing, unexpected or of another shape. The
                reference ignores missing ones.
        """
        del strict, assign
        load_reference_state(self.supernet, state_dict, origin="state_dict")


class OfaSubnet(nn.Module):
    """A static network, as ``get_active_subnet`` and ``ofa_specialized`` return it."""

    def __init__(self, subnet: Subnet) -> None:
        """Wrap a subnet."""
        super().__init__()
        self.subnet = subnet

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W) images; return logits (N, classes)."""
        logits: Tensor = self.subnet(images)
        return logits

    @property
    def config(self) -> dict[str, Any]:
        """The network's configuration, as the reference's ``net.config`` files."""
        return write_net_config(
            NetworkSpec(
                space=self.subnet.space,
                arch=self.subnet.arch,
                num_classes=self.subnet.num_classes,
                dropout=self.subnet.dropout,
            )
        )

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - torch's signature
        """Return the weights by the reference's names."""
        del args, kwargs
        return to_reference(self.subnet)

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        assign: bool = False,
    ) -> Any:  # noqa: ANN401
        """Load weights by the reference's names.

        Raises:
            CheckpointError: If an entry is missing, unexpected or of another shape.
        """
        del strict, assign
        load_reference_state(self.subnet, state_dict, origin="state_dict")


def _config_of(supernet: Supernet, settings: ActiveSettings) -> dict[str, Any]:
    return write_net_config(
        NetworkSpec(
            space=supernet.space,
            arch=settings.arch(),
            num_classes=supernet.num_classes,
            dropout=supernet.dropout,
        )
    )
