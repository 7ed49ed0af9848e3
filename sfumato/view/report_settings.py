"""A run's settings and protocol to the last sections of its report."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sfumato.core.units import say_bytes
from sfumato.view.report_run import Run
from sfumato.view.report_words import section, text

__all__ = ["protocol_of", "settings_of"]

UNTOLD = ("most_pairs",)  # settings that follow from the memory there is, and change no picture


def settings_of(run: Run) -> str:
    """How the run can be repeated, what was not as usual, and everything else on demand."""
    config = run.training.get("config")
    if not isinstance(config, Mapping):
        return ""
    command, usual = run.settings.get("command"), run.settings.get("usual")
    line = command.get("line") if isinstance(command, Mapping) else None
    parts = [f'<p class="note">Begun with:</p><pre tabindex="0"><code>{text(line)}</code></pre>'] if line else []
    flat = dict(_flat(config))
    if isinstance(usual, Mapping):
        before = dict(_flat(usual))
        rows = [(key, flat[key], before.get(key)) for key in flat if flat[key] != before.get(key) and key not in UNTOLD]
        if rows:
            body = "".join(
                f'<tr><th scope="row">{text(k)}</th><td>{text(a)}</td><td>{text(b)}</td></tr>' for k, a, b in rows
            )
            parts.append(
                '<div class="scroll"><table class="values"><caption>What differs from what sfumato does by itself with '
                'these photos</caption><thead><tr><th scope="col">setting</th><th scope="col">here</th>'
                f'<th scope="col">usually</th></tr></thead><tbody>{body}</tbody></table></div>'
            )
        else:
            parts.append("<p>All settings are what sfumato chooses by itself for these photos.</p>")
    parts.append(f"<details><summary>All settings</summary>{_values(flat.items())}</details>")
    return section("settings", "Settings", "".join(parts))


def protocol_of(run: Run) -> str:
    """What another person must repeat, and what it took."""
    parts = [_memory(run)]
    simple = {key: value for key, value in run.protocol.items() if not isinstance(value, Mapping)}
    rest = {key: value for key, value in run.protocol.items() if isinstance(value, Mapping)}
    for told in ("peak_memory_bytes", "peak_gpu_memory_bytes"):
        simple.pop(told, None)
    simple.pop("test_names", None)  # the table has them
    parts.append(_values((key.replace("_", " "), value) for key, value in _flat(simple)))
    for key, value in rest.items():
        parts.append(f"<details><summary>{text(key.replace('_', ' '))}</summary>{_values(_flat(value))}</details>")
    return section("protocol", "Protocol", '<p class="note">What these numbers depend on.</p>' + "".join(parts))


def _memory(run: Run) -> str:
    """What was foreseen and what it was, of the machine's memory and of a GPU's."""
    lines = []
    for title, prefix, key in (
        ("Memory", "", "peak_memory_bytes"),
        ("The GPU's memory", "gpu_", "peak_gpu_memory_bytes"),
    ):
        memory, peak = run.training.get("memory"), run.protocol.get(key)
        expected = memory.get(f"{prefix}predicted_peak_bytes") if isinstance(memory, Mapping) else None
        said = [f"{say_bytes(expected)} predicted"] if isinstance(expected, int) else []
        said += [f"{say_bytes(peak)} measured at the highest"] if isinstance(peak, int) else []
        lines += [f'<p class="memory">{title}: {", ".join(said)}.</p>'] if said else []
    return "".join(lines)


def _values(values: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{text(key)}</th><td>{text(value)}</td></tr>' for key, value in values)
    return f'<div class="scroll"><table class="values"><tbody>{rows}</tbody></table></div>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names in words, with those of what they belong to, and values as they are read."""
    for key, value in values.items():
        name = prefix + str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name.removesuffix("_bytes"), _readable(name, value)


def _readable(key: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return say_bytes(value) if key.endswith("_bytes") else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_readable("", item) for item in value) or "none"
    return str(value)
