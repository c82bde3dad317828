"""Where a picture comes from, written into its file: software, model, direction, and that it is no evidence.

    tag = Provenance("unmask", model="user/model")
    picture = mark(picture, tag)               # picture.save("out.png") writes it, and so does save_photo
    container.metadata.update(tag.video_metadata())   # PyAV, before the first packet is written
    read_provenance("out.png")                 # Provenance, or None where there is none

Written are XMP (PNG, JPEG, WebP, TIFF), with IPTC's ``DigitalSourceType``, the field's term for generated media,
and beside it what plain viewers show: EXIF ``Software`` and ``ImageDescription``, PNG text ``Software`` and
``Description``, a GIF's comment, an MP4's ``comment`` (JSON). BMP can hold nothing. Whoever wants to can take a tag
away: it informs the honest, it proves nothing.

A result carries none of its input's EXIF and XMP: its orientation is applied to the pixels already, and place, time,
camera and the thumbnail (of the face as it was!) are nobody's business. Only the colour profile stays.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from PIL import Image, PngImagePlugin

from maskhub import __version__
from maskhub.errors import ConfigError, PhotoError
from maskhub.film_file import open_film
from maskhub.image_file import open_image

__all__ = ["INVENTED", "RULE", "MarkedImage", "Provenance", "mark", "read_provenance", "save_options"]

INVENTED = "synthetic: an invented face, not evidence"
NOTES = {
    "mask": "synthetic: a mask that software put on, not evidence",
    "unmask": INVENTED,
    "cycle": INVENTED,
    "translate": INVENTED,
}
"""Directions and what is said of their pictures; ``cycle`` is there and back, ``translate`` either, face by face."""
RULE = "rule"
"""The model's name where a mask was drawn by rule."""

_KEY = "maskhub"
_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "maskhub": "urn:maskhub:provenance#",
}
_SOFTWARE, _DESCRIPTION, _XMP = 0x0131, 0x010E, 0x02BC
_VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}


@dataclass(frozen=True)
class Provenance:
    """What is said of a made picture or film.

    Attributes:
        direction: ``"mask"``, ``"unmask"``, ``"cycle"`` or ``"translate"``.
        model: a Hub id or a folder's own name; :data:`RULE` for masks drawn by rule.
        note: in words; that of the direction if not given.
        software: name and version.
    """

    direction: str
    model: str
    note: str = ""
    software: str = f"maskhub {__version__}"

    def __post_init__(self):
        if self.direction not in NOTES:
            raise ConfigError(f"the direction is {self.direction!r}; it must be one of {', '.join(NOTES)}.")
        object.__setattr__(self, "note", self.note or NOTES[self.direction])
        for name, value in asdict(self).items():  # XML has no control characters
            object.__setattr__(self, name, "".join(c for c in str(value) if c.isprintable())[:200])

    @property
    def source_type(self):
        """IPTC's term, a URI: what a trained network made, or a composite with parts drawn by rule."""
        return _TERMS + ("compositeSynthetic" if self.model == RULE else "compositeWithTrainedAlgorithmicMedia")

    def as_dict(self):
        """``software``, ``model``, ``direction`` and ``note``."""
        return {"software": self.software, "model": self.model, "direction": self.direction, "note": self.note}

    def as_text(self):
        """One sentence for a person."""
        return f"{self.note} (made by {self.software}, model {self.model}, direction {self.direction})"

    def video_metadata(self):
        """Tags for ``container.metadata`` of PyAV; players show the comment, and all of it is in there."""
        return {"comment": json.dumps(self.as_dict()), "description": self.as_text()}

    def xmp(self):
        """An XMP packet, UTF-8."""
        spaces = " ".join(f'xmlns:{name}="{uri}"' for name, uri in _SPACES.items() if name != "rdf")
        own = " ".join(f"maskhub:{name}={quoteattr(value)}" for name, value in self.as_dict().items())
        # a description of dc is a list of languages
        words = escape(self.as_text())
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
            f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_SPACES["rdf"]}">'
            f'<rdf:Description rdf:about="" {spaces} xmp:CreatorTool={quoteattr(self.software)} '
            f'Iptc4xmpExt:DigitalSourceType="{self.source_type}" {own}>'
            f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{words}</rdf:li></rdf:Alt></dc:description>'
            '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        ).encode()


class MarkedImage(Image.Image):
    """A ``PIL.Image`` that writes its tag whenever it is saved; so do its copies, crops and conversions."""

    def save(self, fp, format=None, **params):
        """As ``PIL.Image.Image.save``; options that are given go before the tag's."""
        kind = format
        if kind is None and isinstance(fp, (str, os.PathLike)):
            kind = Image.registered_extensions().get(Path(fp).suffix.lower())
        profile = self.info.get("icc_profile") if self.mode in ("RGB", "RGBA") else None
        options = {"icc_profile": profile} if profile else {}  # which Pillow keeps for some formats only
        super().save(fp, format, **{**options, **save_options(self, kind or ""), **params})

    def _new(self, im):  # all that Pillow derives from an image
        new = super()._new(im)
        new.__class__ = MarkedImage
        return new


def mark(image, tag):
    """The picture, with the tag written whenever it is saved.

    Args:
        image: ``PIL.Image`` just made; one that was opened from a file is copied.
        tag: :class:`Provenance`, or None, which changes nothing.
    """
    if tag is None:
        return image
    image = image if type(image) in (Image.Image, MarkedImage) else image.copy()
    image.info[_KEY] = tag
    image.__class__ = MarkedImage
    return image


def save_options(image, kind):
    """The options of ``Image.save`` that write an image's tag.

    Args:
        image: ``PIL.Image``; of one that is not marked there is nothing to write.
        kind: Pillow's name of the format.

    Returns:
        dict, empty for a format that can't hold a tag.
    """
    tag, kind = image.info.get(_KEY), kind.upper()
    if tag is None:
        return {}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Software", tag.software)
        info.add_itxt("Description", tag.as_text())
        info.add_itxt("XML:com.adobe.xmp", tag.xmp().decode())
        return {"pnginfo": info}
    if kind == "GIF":
        return {"comment": json.dumps(tag.as_dict()).encode()}
    if kind not in ("JPEG", "WEBP", "TIFF"):
        return {}
    exif = Image.Exif()
    exif[_SOFTWARE], exif[_DESCRIPTION] = tag.software, tag.as_text()
    if kind == "TIFF":
        exif[_XMP] = tag.xmp()
        return {"exif": exif}
    return {"exif": exif, "xmp": tag.xmp()}


def read_provenance(source):
    """The tag of a picture or film.

    Args:
        source: a path, a file object or a ``PIL.Image``. Films need PyAV.

    Returns:
        :class:`Provenance`, or None where there is none (which does not say that nothing was changed).

    Raises:
        PhotoError, VideoError: not a file, or neither picture nor film.
    """
    if isinstance(source, Image.Image):
        return source.info.get(_KEY) or _parsed(source.info)
    name = source if isinstance(source, (str, os.PathLike)) else "the file"
    if Path(str(name)).suffix.lower() in _VIDEOS:
        return _of_film(source)
    try:
        with open_image(source) as image:
            found = _parsed(image.info)
            if found is None and image.format == "PNG":
                image.load()  # text may come after the pixels
                found = _parsed(image.info)
            return found
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{name} can't be read as a picture ({error}).") from error


def _parsed(info):
    """The tag among what Pillow read from a file; whatever else a stranger wrote there is no tag."""
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    if _SPACES["maskhub"].encode() not in packet:
        return _from_json(info.get("comment"))
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:  # no XMP has any, and entities can be bombs
        return None
    try:
        root = ElementTree.fromstring(re.sub(rb"<\?xpacket[^>]*\?>|\x00+$", b"", packet))
    except (ElementTree.ParseError, ValueError):
        return None
    space = "{" + _SPACES["maskhub"] + "}"
    for place in root.iter(f"{{{_SPACES['rdf']}}}Description"):
        found = {name.removeprefix(space): value for name, value in place.attrib.items() if name.startswith(space)}
        if found:
            return _from_dict(found)
    return None


def _from_json(text):
    try:
        return _from_dict(json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


def _from_dict(found):
    if not isinstance(found, dict) or not str(found.get("software", "")).startswith("maskhub"):
        return None
    try:
        return Provenance(**{name: str(found[name]) for name in ("direction", "model", "note", "software")})
    except (KeyError, ConfigError):
        return None


def _of_film(path):
    with open_film(path) as container:
        return _from_json(container.metadata.get("comment") or container.metadata.get("COMMENT"))
