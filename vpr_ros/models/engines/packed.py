"""A network made ready for one processor: the same function, fewer and faster kernels.

Weights are cast and reordered for oneDNN once, activations are fused to the products before them,
LayerScale is folded into the projection it follows, and the position table, which is a constant of
the input size, is interpolated once. Nothing here changes what is computed, only its rounding.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from vpr_ros.models.engines import processor
from vpr_ros.models.networks import dinov2


class PackedLinear(nn.Module):
    """A linear layer on oneDNN: weight reordered once, an activation fused to it.

    Input of any float type; output in the type of the weight.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, activation: str = 'none') -> None:
        super().__init__()
        self.dtype = dtype
        self.activation = activation
        self.algorithm = 'none' if activation == 'gelu' else ''  # of gelu: not approximated
        weight = linear.weight.detach().to(dtype).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        return torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self.weight, self.bias, self.activation, [], self.algorithm
        )


class PatchProjection(nn.Module):
    """The convolution of a patch embedding, whose stride is its kernel, as one product."""

    def __init__(self, embed: dinov2.PatchEmbed, dtype: torch.dtype) -> None:
        super().__init__()
        convolution = embed.proj
        self.patch = convolution.kernel_size[0]
        weight = convolution.weight.detach().flatten(1)  # (C, 3 * patch * patch)
        linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(cast(torch.Tensor, convolution.bias))
        self.linear = PackedLinear(linear, dtype)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        batch, _, height, width = images.shape
        p, h, w = self.patch, height // self.patch, width // self.patch
        cells = images.view(batch, 3, h, p, w, p).permute(0, 2, 4, 1, 3, 5)
        tokens = self.linear(cells.reshape(batch, h * w, 3 * p * p))
        return tokens.transpose(1, 2).view(batch, -1, h, w)


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's packed products for a type, by trying one."""
    try:
        with torch.inference_mode():
            PackedLinear(nn.Linear(16, 16), dtype)(torch.zeros(2, 16))
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True


def pack(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the linear layers of a network, in place."""
    for name, child in network.named_children():
        if stays_float32(child):
            continue
        if isinstance(child, dinov2.Mlp):
            fc1, fc2 = PackedLinear(child.fc1, dtype, 'gelu'), PackedLinear(child.fc2, dtype)
            replace(child, fc1=fc1, act=nn.Identity(), fc2=fc2)
        elif isinstance(child, nn.Linear):
            replace(network, **{name: PackedLinear(child, dtype)})
        elif isinstance(child, nn.Conv2d):
            child.to(dtype)
        elif isinstance(child, dinov2.PatchEmbed):
            replace(network, **{name: PatchProjection(child, dtype)})
        elif isinstance(child, nn.Sequential):
            fuse_relu(child, dtype)
            pack(child, dtype)
        else:
            pack(child, dtype)


def replace(parent: nn.Module, **children: nn.Module) -> None:
    """Put other modules in place of a module's children."""
    for name, child in children.items():
        setattr(parent, name, child)


def stays_float32(module: nn.Module) -> bool:
    """Whether a module computes in float32 whatever the rest does, or reads its own weights."""
    return getattr(module, 'float32', False) or isinstance(module, nn.TransformerEncoder)


def fuse_relu(layers: nn.Sequential, dtype: torch.dtype) -> None:
    """Linear, (Dropout,) ReLU becomes one product with its activation."""
    linear: int | None = None
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            linear = index
        elif isinstance(layer, nn.ReLU) and linear is not None:
            layers[linear] = PackedLinear(layers[linear], dtype, 'relu')  # type: ignore[arg-type]
            layers[index] = nn.Identity()
        elif not isinstance(layer, nn.Dropout):
            linear = None


def fold_layer_scale(network: nn.Module) -> None:
    """Multiply each LayerScale into the linear layer before it, in place."""
    for block in network.modules():
        if not isinstance(block, dinov2.Block):
            continue
        for linear, scale in ((block.attn.proj, block.ls1), (block.mlp.fc2, block.ls2)):
            if isinstance(scale, dinov2.LayerScale):
                with torch.no_grad():
                    linear.weight.mul_(scale.gamma[:, None])
                    linear.bias.mul_(scale.gamma)
        replace(block, ls1=nn.Identity(), ls2=nn.Identity())


def choose_attention(network: nn.Module, dtype: torch.dtype) -> None:
    """Attention by plain products where torch's fused kernel is the slower one, in place.

    The fused CPU kernel is fast with AMX alone; on an AMD EPYC with AVX512_BF16 it takes 2.5 times
    as long as three calls of oneDNN (530 tokens, 12 heads).
    """
    if dtype != torch.bfloat16 or processor.first_of(('amx_bf16',)):
        return
    for module in network.modules():
        if isinstance(module, dinov2.Attention):
            module.attend = attend_by_products


def attend_by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Scaled dot product attention, (B, heads, T, d) each, as batched products."""
    shape = query.shape
    query, key, value = (x.reshape(-1, *shape[2:]) for x in (query, key, value))
    scores = torch.bmm(query * shape[-1] ** -0.5, key.transpose(1, 2))
    return torch.bmm(scores.softmax(dim=-1), value).view(shape)


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert weights to a type, but for the modules that stay in float32, in place."""
    for module in network.modules():
        if stays_float32(module):
            module.apply(_keep)
    for module in network.modules():
        if not getattr(module, 'kept_float32', False):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    cast_inputs(network)


def _keep(module: nn.Module) -> None:
    module.kept_float32 = True  # type: ignore[assignment]


def cast_inputs(network: nn.Module) -> None:
    """Let every layer that was not packed take its input in the type of its own weight."""
    for module in network.modules():
        weight = getattr(module, 'weight', None)
        if isinstance(weight, nn.Parameter) and next(module.children(), None) is None:
            module.register_forward_pre_hook(_to_own_type)


def _to_own_type(module: nn.Module, arguments: tuple) -> tuple:
    dtype = cast(nn.Parameter, module.weight).dtype
    return tuple(x.to(dtype) if torch.is_tensor(x) else x for x in arguments)
