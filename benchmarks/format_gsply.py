"""What gsply reads of a file -> float32 rows as in formats_js/rows.mjs: python format_gsply.py FILE ROWS."""

import json
import sys
from pathlib import Path

import gsply
import numpy as np

file, target = sys.argv[1:]
data = gsply.read_spz(file) if file.endswith(".spz") else gsply.plyread(file)
N = len(data.means)
rest = np.zeros((N, 0)) if data.shN is None else np.reshape(data.shN, (N, -1))
opacities = 1 / (1 + np.exp(-np.reshape(data.opacities, (N, 1)).astype(np.float64)))
columns = [data.means, data.scales, data.quats, opacities, np.reshape(data.sh0, (N, 3)), rest]
Path(target).write_bytes(np.concatenate(columns, axis=1).astype("<f4").tobytes())
print(json.dumps({"count": N, "bases": rest.shape[1] // 3}))
