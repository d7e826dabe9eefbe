"""Licences of data by the identifiers of Hugging Face's hub."""

from __future__ import annotations

# What is known of the licences of data that layerlink reads by name.
LICENCES = {
    "digits": "CC BY 4.0 (Optical Recognition of Handwritten Digits, UCI, Alpaydin & Kaynak 1998)",
    "cifar10": "its authors state none; they ask to cite Krizhevsky, Learning Multiple Layers of Features, 2009",
    "cifar100": "its authors state none; they ask to cite Krizhevsky, Learning Multiple Layers of Features, 2009",
}
_OF_SOURCES = {"digits": "cc-by-4.0"}


# Those of the hub's list that a licence of data may be.
_HUB = """
apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda
cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0
postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
"""
IDENTIFIERS = frozenset(_HUB.split())
# Names of SPDX that the hub has otherwise.
_SPDX = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"}


def identifier(said: str | None, source: str) -> str | None:
    """The hub's identifier of a licence; None where it is in other words, or not known.

    Args:
        said: what the recipe says of it, ``data.licence``.
        source: the data set's name, where the recipe says nothing.

    >>> identifier("CC-BY-SA 4.0", "folder"), identifier("ODbL-1.0", "folder"), identifier("ask me", "folder")
    ('cc-by-sa-4.0', 'odbl', None)
    >>> identifier(None, "digits"), identifier(None, "cifar10")
    ('cc-by-4.0', None)
    """
    if said is None:
        return _OF_SOURCES.get(source)
    name = "-".join(said.lower().split()).removesuffix("-only")
    name = _SPDX.get(name, name)
    return name if name in IDENTIFIERS else None
