"""Files into a ZIP in canonical form, and out again."""

import io
from collections.abc import Mapping

from portal.zips import ZipReader, ZipWriter


def zipped(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    writer = ZipWriter(file)
    for name, data in files.items():
        writer.add(name, data)
    writer.close()
    return file.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    """Files of at most 16 MiB each. Raises ZipRefused."""
    reader = ZipReader(io.BytesIO(data))
    return {name: reader.read(member, 1 << 24) for name, member in reader.members.items()}
