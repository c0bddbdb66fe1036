"""The gradient nearest to a given one that is in the cone of allowed directions (GEM)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor


def projected(g: Tensor, G: Tensor, margin: float, ridge: float) -> Tensor:
    """g̃ = Gᵀv + g, v ≥ margin minimising ½ vᵀ(GGᵀ + ridge · I)v + (Gg)ᵀv: [P].

    g: [P]; G: [T, P], a gradient of each old task. Lopez-Paz & Ranzato 2017, arXiv:1706.08840,
    eq. 11 (the dual). With u = v − margin ≥ 0 that is ½ ‖Gᵀu + Gᵀmargin + g‖² and the ridge: a
    non-negative least squares problem. Only inner products matter, so R with RᵀR = MMᵀ takes the
    place of Mᵀ, where M has the rows of G and one more: T + 1 rows instead of P. In double
    precision.
    """
    tasks = len(G)
    M = torch.cat([G, g[None]]).double()
    M[tasks] += margin * M[:tasks].sum(0)
    values, vectors = torch.linalg.eigh((M @ M.T).cpu())
    R = (values.clamp(min=0).sqrt()[:, None] * vectors.T).numpy()  # [T + 1, T + 1]
    root = ridge**0.5
    A = np.concatenate([R[:, :tasks], root * np.eye(tasks)])
    b = np.concatenate([R[:, tasks], np.full(tasks, root * margin)])
    u, _ = nnls(A, -b)
    v = torch.from_numpy(u + margin).to(g.device)
    return (g.double() + v @ G.double()).to(g.dtype)
