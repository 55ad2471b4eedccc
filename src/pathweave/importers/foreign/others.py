"""What is no model at all, or one in a form that needs a step before."""

from __future__ import annotations

from . import Foreign, Peek

_IMAGES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"II*\x00": "TIFF",
           b"MM\x00*": "TIFF"}
_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"7z\xbc\xaf\x27\x1c": "7z",
             b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
last = True
_INPUT = "it is an input, not a model: pathweave run MODEL IMAGE, or model.predict(IMAGE)"


def identify(peek: Peek) -> Foreign | None:
    """By signature; a folder by what is in it."""
    head, text = peek.head, peek.text.lstrip()
    if peek.path is not None and peek.path.is_dir():
        if "Manifest.json" in peek.files and "Data" in peek.files:
            return Foreign("a package of Core ML", "convert the model that it was made from to ONNX")
        if "config.json" in peek.files and any(name.endswith((".safetensors", ".bin")) for name in peek.files):
            return Foreign("a folder of Hugging Face transformers, weights and no computation",
                           "export it to ONNX: optimum-cli export onnx --model FOLDER OUT")
        models = [name for name in peek.files if name.endswith((".onnx", ".pw"))]
        return Foreign("a folder", f"give a file in it: {', '.join(models[:4])}" if models else
                       "give the path of a model file")
    if not head:
        return Foreign("an empty file", "copy or download it again")
    if text.startswith("version https://git-lfs"):
        return Foreign("a pointer of Git LFS to a file that was not fetched", "fetch it: git lfs pull")
    if text[:200].lower().startswith(("<!doctype html", "<html")):
        return Foreign("a web page, not the file behind it", "download the file itself, such as by its raw or resolve link")
    if head[2:8] == b"\0\0ORTM":
        return Foreign("a model in ONNX Runtime's own format (.ort)", "load the ONNX file that it was made from")
    for magic, name in _IMAGES.items():
        if head.startswith(magic) and (name != "BMP" or head[6:10] == bytes(4)):
            return Foreign(f"an image ({name})", _INPUT)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Foreign("an image (WebP)", _INPUT)
    if head[257:262] == b"ustar":
        return Foreign("a tar archive", "unpack it, and give the model file in it")
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            return Foreign(f"a {name} archive", "unpack it, and give the model file in it")
    return None
