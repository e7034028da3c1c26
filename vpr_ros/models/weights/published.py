"""The weights that others have published, and where fetched ones are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SAGE = (
    'https://github.com/chenshunpeng/SAGE/releases/download/v1.0.0/{}',
    'https://huggingface.co/shunpeng/SAGE/resolve/main/{}',
)
_FOL = ('https://huggingface.co/shunpeng/FoL/resolve/main/{}',)


@dataclass(frozen=True)
class Published:
    """One file. `model` is empty where it holds a backbone alone."""

    file: str
    places: tuple[str, ...]  # addresses with a gap for the file
    licence: str
    about: str
    model: str = ''
    sha256: str = ''  # recorded by a third party for the file on Hugging Face, revision 2a2ea996

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to get it, best first."""
        return tuple(place.format(self.file) for place in self.places)


def _sage(model: str, file: str, sha256: str, about: str) -> Published:
    return Published(file, _SAGE, 'MIT', about, model, sha256)


def _fol(model: str, file: str, about: str) -> Published:
    return Published(file, _FOL, 'Apache-2.0', about, model)


def _dinov2(size: str) -> Published:
    place = f'https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/{{}}'
    about = 'backbone to train a head on'
    return Published(f'dinov2_vit{size}14_pretrain.pth', (place,), 'Apache-2.0', about)


_WITHOUT_BRANCH = 'FoL in FoL++, without a reliability branch'

PUBLISHED: dict[str, Published] = {
    'sage_vitb': _sage(
        'sage_vitb', 'SAGE_No-Encoder_Vit-B.pth',
        '8cfed7d4e8bbcdee4c016b29211f64ffd015c3cbae538034b3352c858af6a27e', 'SAGE on ViT-B/14',
    ),
    'sage_vitl': _sage(
        'sage_vitl', 'SAGE_No-Encoder_Vit-L.pth',
        '31212d543304258b22cfce63aa9d433527a086832cfaec7fc9bca99fd53286dc', 'SAGE on ViT-L/14',
    ),
    'sage_vitl_cross': _sage(
        'sage_vitl_cross', 'SAGE.pth',
        '9e6d7b7cf042754ace3a467159f5db44da4475815640ff85ee1c0505cb550b01',
        'SAGE with its cross-image encoder, for evaluation only',
    ),
    'fol_vitb': _fol('fol_vitb', 'FoL_base.pth', 'FoL on ViT-B/14'),
    'fol_vitl': _fol('fol_vitl', 'FoL_large.pth', 'FoL on ViT-L/14'),
    'folpp_vitb': _fol('folpp_vitb', 'FoL_base.pth', _WITHOUT_BRANCH),
    'folpp_vitl': _fol('folpp_vitl', 'FoL_large.pth', _WITHOUT_BRANCH),
    'dinov2_vits14': _dinov2('s'),
    'dinov2_vitb14': _dinov2('b'),
    'dinov2_vitl14': _dinov2('l'),
}  # fmt: skip


def cache_folder() -> Path:
    """Where fetched weights are kept: $XDG_CACHE_HOME/vpr_ros, or ~/.cache/vpr_ros."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    return (Path(base) if os.path.isabs(base) else Path.home() / '.cache') / 'vpr_ros'


def fetched_weights(name: str, folder: Path | None = None) -> Path:
    """Where the weights of that name are, once they are fetched."""
    return (folder or cache_folder()) / f'{name}.safetensors'
