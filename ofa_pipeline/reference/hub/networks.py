"""Networks that behave as the reference's objects do, and as any module of torch.

The reference's supernet holds an active subnet and its static networks carry their own
configuration; code that was written against it goes on working with these. Their parts are
registered under the reference's names, so that parameters, state and modules are called alike,
and torch saves, loads, averages, wraps, traces and changes them as it does its own.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.errors import ArchError
from ofa_pipeline.reference.checkpoints import load_reference_state, suggest_checkpoint
from ofa_pipeline.reference.hub.families import Parts, activate, active_parts, supernet_parts
from ofa_pipeline.reference.hub.layers import channels_last
from ofa_pipeline.reference.hub.loading import adopt_names, state_dict_error, unwrapped
from ofa_pipeline.reference.hub.settings import ActiveSettings, Setting, is_mbconv
from ofa_pipeline.reference.names import reference_names, to_reference
from ofa_pipeline.reference.zoo import NetworkSpec, write_net_config
from ofa_pipeline.supernet import Subnet, Supernet, build_subnet, build_supernet, sort_channels

_CLASSIFIER = "classifier"


class _Network(nn.Module):
    """Parts by the reference's names, run one after the other.

    Attributes:
        space: The search space: every choice of every dimension.
        dropout: Probability before the classifier, in training mode.
    """

    def __init__(self, parts: Parts, *, space: SearchSpace, dropout: float) -> None:
        """Register the parts."""
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.space, self.dropout = space, dropout
        self._order = tuple(parts)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W) images; return logits (N, classes).

        A part that has been replaced runs in its place; one that was set to None is left out.
        """
        # Weights lie in memory as those of any module do; the images decide how features lie.
        x = channels_last(images)
        for name in self._order:
            part = getattr(self, name)
            if name == _CLASSIFIER:
                x = x.flatten(1)
            # People put a list of the first blocks in the place of all.
            layers = part if isinstance(part, nn.ModuleList) else [part]
            for layer in layers:
                x = x if layer is None else layer(x)
        return x

    def __prepare_scriptable__(self) -> nn.Module:
        """Return what torch.jit.script compiles in the place of this: the parts in a row."""
        parts = self._parts()
        head = {_CLASSIFIER: parts.pop(_CLASSIFIER)} if _CLASSIFIER in parts else {}
        return nn.Sequential(OrderedDict({**parts, "flatten": nn.Flatten(1), **head}))

    def _parts(self) -> Parts:
        found = {name: getattr(self, name) for name in self._order}
        return {name: part for name, part in found.items() if part is not None}

    @property
    def num_classes(self) -> int:
        """Length of the logits.

        Raises:
            ArchError: If the classifier was replaced by something that does not say it.
        """
        layers = [m for m in self._modules_of(_CLASSIFIER) if isinstance(m, nn.Linear)]
        if not layers:
            raise ArchError(
                "the classifier must have a fully connected layer to tell the number of classes, "
                f"but it was replaced by {type(getattr(self, _CLASSIFIER)).__name__}"
            )
        return layers[-1].out_features

    def _modules_of(self, name: str) -> Iterator[nn.Module]:
        part = getattr(self, name)
        return iter(()) if part is None else part.modules()

    def _config(self, arch: Arch) -> dict[str, Any]:
        spec = NetworkSpec(
            space=self.space, arch=arch, num_classes=self.num_classes, dropout=self.dropout
        )
        return write_net_config(spec)

    def _take(self, network: Supernet | Subnet) -> None:
        """Fill the parts, which have no memory yet, with copies of a network's weights."""
        self.load_state_dict(to_reference(network), assign=True)
        self.train(network.training)

    def _load_from_state_dict(
        self,
        state_dict: MutableMapping[str, Any],
        prefix: str,
        *rest: Any,  # noqa: ANN401
    ) -> None:
        # torch calls this with a dictionary of its own, also where the network is a part.
        adopt_names(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:  # noqa: ANN401 - torch's named pair
        """Load weights by the reference's names, in any of its spellings, as torch does.

        Args:
            state_dict: Named tensors, or a training checkpoint with them under ``state_dict``.
            strict: Whether every entry must be accounted for.
            assign: Take the given tensors themselves instead of copying their numbers.

        Returns:
            The entries that are missing and those that are unexpected.

        Raises:
            StateDictError: If an entry is of another shape, or with `strict` missing or
                unexpected. It is a RuntimeError, as torch's own, and a CheckpointError.
        """
        given = unwrapped(state_dict)
        try:
            return super().load_state_dict(given, strict=strict, assign=assign)
        except RuntimeError as error:
            hint = suggest_checkpoint(self.space, given)
            raise state_dict_error(error, hint) from error


class OfaSupernet(_Network):
    """A supernet with an active subnet, as ``ofa_net`` of the reference returns it.

    It starts with the largest subnet active. What is set wrongly is an error that names the
    choices; the reference accepts it silently.
    """

    def __init__(self, supernet: Supernet) -> None:
        """Copy a supernet's weights into the reference's layout, in its mode."""
        space, dropout = supernet.space, supernet.dropout
        with torch.device("meta"):
            parts = supernet_parts(space, num_classes=supernet.num_classes, dropout=dropout)
        super().__init__(parts, space=space, dropout=dropout)
        self._settings = ActiveSettings(space)
        activate(self._parts(), self._settings)
        self._take(supernet)

    def to_supernet(self) -> Supernet:
        """Return a copy of the weights as a supernet that takes its architecture as an argument.

        Raises:
            CheckpointError: If parts were replaced, so that the weights no longer fit.
        """
        network = build_supernet(self.space, num_classes=self.num_classes, dropout=self.dropout)
        load_reference_state(network, self.state_dict(), origin="the network")
        return network.train(self.training)

    def set_max_net(self) -> None:
        """Make the largest subnet active."""
        self._settings.set_maximum()
        activate(self._parts(), self._settings)

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
        activate(self._parts(), self._settings)

    def sample_active_subnet(self) -> Setting:
        """Draw a subnet from Python's `random`, make it active and return its settings.

        For the same seed it draws what the reference draws.
        """
        drawn = self._settings.sample()
        activate(self._parts(), self._settings)
        return drawn

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

    @property
    def grouped_block_index(self) -> list[list[int]]:
        """The indices in ``blocks`` of each elastic block group."""
        first = int(is_mbconv(self.space))
        groups = self.space.block_groups[0 if first else 1 :]
        indices: list[list[int]] = []
        for group in groups:
            indices.append(list(range(first, first + group.max_depth)))
            first += group.max_depth
        return indices

    @property
    def runtime_depth(self) -> list[int]:
        """How many blocks of each group run; of a ResNet, how many of each group do not."""
        depths = self._settings.depths()
        if is_mbconv(self.space):
            return depths
        groups = zip(self.space.block_groups[1:], depths[1:], strict=True)
        return [group.max_depth - depth for group, depth in groups]

    def get_active_subnet(self, preserve_weight: bool = True) -> "OfaSubnet":
        """Return the active subnet as a network of its own.

        Args:
            preserve_weight: Take the supernet's weights along; otherwise they are random.

        Returns:
            A copy in the supernet's training or evaluation mode. Its batch-norm statistics are
            the supernet's: calibrate it before its accuracy is measured. Parts that were
            replaced come along as they are.
        """
        arch = self._settings.arch()
        if preserve_weight:
            parts = active_parts(self._parts())
            subnet = OfaSubnet.of_parts(parts, self.space, arch, dropout=self.dropout)
        else:
            seed = int(torch.randint(2**31, (1,)))
            classes, dropout = self.num_classes, self.dropout
            subnet = OfaSubnet(
                build_subnet(self.space, arch, num_classes=classes, dropout=dropout, seed=seed)
            )
        return subnet.train(self.training)

    def get_active_net_config(self) -> dict[str, Any]:
        """Return the active subnet's configuration, as the reference's ``net.config`` files."""
        return self._config(self._settings.arch())

    def re_organize_middle_weights(self, expand_ratio_stage: int = 0) -> None:
        """Sort channels by importance, those of the first ``stage + 1`` ratios protected.

        Raises:
            CheckpointError: If parts other than the classifier were replaced.
        """
        ratios = sorted(self.space.block_groups[-1].expand_ratios, reverse=True)
        core = build_supernet(self.space, num_classes=1)
        head = {k: v for k, v in to_reference(core).items() if k.startswith(_CLASSIFIER)}
        body = {k: v for k, v in self.state_dict().items() if not k.startswith(_CLASSIFIER)}
        load_reference_state(core, {**body, **head}, origin="the network")
        sort_channels(core, trained_expand_ratios=ratios[: expand_ratio_stage + 1])
        names = set(reference_names(core, "supernet").values()) - set(head)
        self.load_state_dict(
            {k: v for k, v in to_reference(core).items() if k in names}, strict=False
        )


class OfaSubnet(_Network):
    """A static network, as ``get_active_subnet`` and ``ofa_specialized`` return it.

    Attributes:
        arch: The architecture.
    """

    def __init__(self, subnet: Subnet) -> None:
        """Copy a subnet's weights into the reference's layout, in its mode."""
        space, arch, dropout = subnet.space, subnet.arch, subnet.dropout
        with torch.device("meta"):
            parts = supernet_parts(space, num_classes=subnet.num_classes, dropout=dropout)
            activate(parts, ActiveSettings.of(space, arch))
            parts = active_parts(parts)
        super().__init__(parts, space=space, dropout=dropout)
        self.arch = arch
        self._take(subnet)

    @classmethod
    def of_parts(
        cls, parts: Parts, space: SearchSpace, arch: Arch, *, dropout: float
    ) -> "OfaSubnet":
        """Return a network of the given parts, which it takes over."""
        network = cls.__new__(cls)
        _Network.__init__(network, parts, space=space, dropout=dropout)
        network.arch = arch
        return network

    def to_subnet(self) -> Subnet:
        """Return a copy of the weights as a subnet of the pipeline.

        Raises:
            CheckpointError: If parts were replaced, so that the weights no longer fit.
        """
        network = build_subnet(
            self.space, self.arch, num_classes=self.num_classes, dropout=self.dropout
        )
        load_reference_state(network, self.state_dict(), origin="the network")
        return network.train(self.training)

    @property
    def config(self) -> dict[str, Any]:
        """The network's configuration, as the reference's ``net.config`` files."""
        return self._config(self.arch)
