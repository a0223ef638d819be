"""Builds the tenants from ``tenant_label:`` and ``tenants:``."""

from router.config.document import Document
from router.config.models import FileModel
from router.decide.tenants import Tenants


def build_tenants(document: Document, file: FileModel) -> Tenants:
    """Return the tenants, and add an error for each that can't be used."""
    names: list[str] = []
    for index, model in enumerate(file.tenants):
        if model.name in names:
            what = f"there are two tenants {model.name!r}"
            document.add_error(("tenants", index, "name"), what, "keep one of them")
        names.append(model.name)
    if names and file.tenant_label is None:
        what = "no label names the tenants"
        document.add_error(("tenants",), what, "add tenant_label, for example `tenant_label: team`")
    return Tenants(file.tenant_label, tuple(names))
