"""A town from a seed: everything that stays the same from one session to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.synthetic.ground import Ground
from vpr_ros.synthetic.lots import Built, blocks_alike, build_block, furnish_streets
from vpr_ros.synthetic.materials import draw_materials
from vpr_ros.synthetic.mesh import Facades, Polygons
from vpr_ros.synthetic.ripmaps import Ripmaps
from vpr_ros.synthetic.streets import Plan, plan_town
from vpr_ros.synthetic.tiles import draw_tiles
from vpr_ros.synthetic.trees import KINDS, TreePicture, draw_tree


@dataclass(frozen=True)
class Buildings:
    """B convex prisms; building b owns polygons `starts[b]` to `starts[b + 1]`."""

    starts: np.ndarray  # (B + 1,)
    footprints_m: np.ndarray  # (B, 4, 2)
    heights_m: np.ndarray  # (B,)


@dataclass(frozen=True)
class Town:
    """Plan, houses, trees, lamps and the textures they are drawn with."""

    seed: int
    size: tuple[int, int]
    plan: Plan
    aliased_blocks: list[list[int]]  # groups of indices into `plan.blocks` that look alike
    polygons: Polygons
    facades: Facades
    buildings: Buildings
    trees: np.ndarray  # (T, 4): x, y, height in metres, kind
    lamps_m: np.ndarray  # (L, 2)
    ground: Ground
    materials: Ripmaps
    cells: Ripmaps  # red, green, blue, cover
    glass: Ripmaps
    tree_pictures: list[TreePicture]

    @classmethod
    def build(cls, seed: int, blocks: tuple[int, int] = (6, 6), aliased_groups: int = 2) -> Town:
        """Build a town of about `blocks` (rows, columns), some of them alike on purpose.

        Raises:
            ConfigError: fewer than 2 x 2 blocks.
        """
        plan = plan_town(np.random.default_rng([seed, 0]), blocks, aliased_groups)
        tiles = draw_tiles(np.random.default_rng([seed, 1]))
        built = Built()
        for number in range(len(plan.blocks)):
            build_block(built, plan, number, seed, tiles)
        furnish_streets(built, plan, seed)
        starts = np.array([*built.starts, len(built.mesh)])
        return cls(
            seed=seed,
            size=blocks,
            plan=plan,
            aliased_blocks=blocks_alike(plan.blocks),
            polygons=built.mesh.polygons(),
            facades=Facades.of(built.mesh.facades),
            buildings=Buildings(starts, np.array(built.footprints_m), np.array(built.heights_m)),
            trees=np.array(built.trees).reshape(-1, 4),
            lamps_m=np.array(built.lamps).reshape(-1, 2),
            ground=Ground.build(plan),
            materials=Ripmaps(draw_materials(np.random.default_rng([seed, 2])), wrap=True),
            cells=Ripmaps(np.ascontiguousarray(tiles.cells[..., :4]), wrap=False),
            glass=Ripmaps(np.ascontiguousarray(tiles.cells[..., 4]), wrap=False),
            tree_pictures=[
                draw_tree(kind, np.random.default_rng([seed, 3, kind])) for kind in range(KINDS)
            ],
        )
