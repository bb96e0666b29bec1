"""From a network to the file of steps and weights that `ofa_pipeline.devices.network` runs."""

import json
import operator
from collections.abc import Mapping
from typing import Any

from safetensors.torch import save
from torch import Tensor, fx, nn

from ofa_pipeline.devices.export import inference_form, name_of
from ofa_pipeline.devices.network import FORMAT, METADATA_KEY
from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.errors import ExportError

Step = dict[str, Any]

_ACTIVATIONS: Mapping[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Hardswish: "hardswish",
    nn.Hardsigmoid: "hardsigmoid",
}
_PASSED_ON = (nn.Identity, nn.Dropout)
"""Modules that do nothing in inference."""
_LEAVES = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, *_ACTIVATIONS, *_PASSED_ON)


def network_bytes(network: nn.Module) -> bytes:
    """Return a network as the content of a file; the same bytes for the same network.

    Args:
        network: From images (N, 3, H, W) to logits; not changed.

    Raises:
        ExportError: If it does something that such a file cannot say.
    """
    try:
        with torch_threads(1):  # weights are small: more threads only wait for each other
            lowering = _lower(inference_form(network).cpu())
    except ExportError as error:
        raise ExportError(f"{name_of(network)}: {error}") from error
    description = json.dumps({"format": FORMAT, "steps": lowering.steps}, sort_keys=True)
    return save(lowering.weights, {METADATA_KEY: description})


def _lower(network: nn.Module) -> "_Lowering":
    try:
        graph = _Tracer().trace(network)
    except fx.proxy.TraceError as error:
        raise _unknown("the network", f"what depends on its values ({error})") from error
    lowering = _Lowering(network)
    for node in graph.nodes:
        lowering.add(node)
    return lowering


class _Tracer(fx.Tracer):
    """Looks into every module but those that are steps."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """Tell whether a module is a step."""
        return isinstance(m, _LEAVES)


class _Lowering:
    """Collects steps and weights, node by node."""

    def __init__(self, network: nn.Module) -> None:
        self._modules = dict(network.named_modules())
        self._values: dict[fx.Node, int] = {}
        self.steps: list[Step] = []
        self.weights: dict[str, Tensor] = {}

    def add(self, node: fx.Node) -> None:
        """Lower one node.

        Raises:
            ExportError: If no step does what it does.
        """
        if node.op == "placeholder":
            self._values[node] = 0
        elif node.op == "output":
            [result] = node.args
            if not isinstance(result, fx.Node) or self._values[result] != len(self.steps):
                raise _unknown(node, "a result that is not the last value")
        elif node.op == "call_module":
            self._add_module(node, self._modules[str(node.target)])
        else:
            self._add_call(node)

    def _add_module(self, node: fx.Node, module: nn.Module) -> None:
        if isinstance(module, _PASSED_ON):
            [source] = node.all_input_nodes
            self._values[node] = self._values[source]
            return
        name = str(node.target)
        if isinstance(module, nn.Conv2d):
            if module.padding_mode != "zeros" or isinstance(module.padding, str):
                raise _unknown(node, f"a convolution with padding {module.padding_mode}")
            options = {
                key: getattr(module, key) for key in ("stride", "padding", "dilation", "groups")
            }
            self._step(node, "conv2d", weights=self._keep(name, module), options=options)
        elif isinstance(module, nn.Linear):
            self._step(node, "linear", weights=self._keep(name, module))
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            self._add_pool(node, module)
        else:
            self._step(node, _ACTIVATIONS[type(module)])

    def _add_pool(self, node: fx.Node, module: nn.MaxPool2d | nn.AvgPool2d) -> None:
        keys = ["kernel_size", "stride", "padding", "ceil_mode"]
        if isinstance(module, nn.AvgPool2d):
            self._step(
                node,
                "avg_pool2d",
                options={key: getattr(module, key) for key in [*keys, "count_include_pad"]},
            )
        else:
            keys.append("dilation")
            self._step(node, "max_pool2d", options={key: getattr(module, key) for key in keys})

    def _add_call(self, node: fx.Node) -> None:
        if node.op == "call_function" and node.target in (operator.add, operator.mul):
            if not all(isinstance(argument, fx.Node) for argument in node.args):
                raise _unknown(node, "a sum or product with a number")
            self._step(node, "add" if node.target is operator.add else "multiply")
        elif node.op == "call_method" and node.target == "mean" and node.args[1:] == ((2, 3),):
            self._step(node, "mean_over_pixels")
        elif node.op == "call_function" and node.target is operator.getitem:
            if node.args[1] != (slice(None), slice(None), None, None):
                raise _unknown(node, f"the index {node.args[1]}")
            self._step(node, "as_pixel")
        else:
            raise _unknown(node, _called(node))

    def _keep(self, name: str, module: nn.Module) -> dict[str, str]:
        """Keep the weights of a module; return their keys in the file by argument."""
        keys = {}
        for argument, weight in module.named_parameters(recurse=False):
            keys[argument] = f"{name}.{argument}"
            self.weights[keys[argument]] = weight.detach().contiguous()
        return keys

    def _step(
        self,
        node: fx.Node,
        operation: str,
        *,
        weights: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        inputs = [self._values[argument] for argument in node.args if isinstance(argument, fx.Node)]
        step: Step = {"operation": operation, "inputs": inputs}
        if weights:
            step["weights"] = dict(weights)
        if options:
            step["options"] = dict(options)
        self.steps.append(step)
        self._values[node] = len(self.steps)


def _called(node: fx.Node) -> str:
    """Say what a node calls, as its author wrote it."""
    target = node.target
    return f"the function {target.__name__}" if callable(target) else f"the method {target}"


def _unknown(node: "fx.Node | str", what: str) -> ExportError:
    return ExportError(
        f"what a network does must consist of convolutions, linear layers, activations, pools, "
        f"sums and products to be written step by step, found {what} ({node}). Use other layers."
    )
