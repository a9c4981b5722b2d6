"""The default model, the words of `mmr describe`, and the modules that mmr imports by name on first use."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

# A wheel holds the model in the package; in a checkout it lies beside it.
datas = collect_data_files("mmr_runtime", includes=["models/default/*"])
if not datas:
    from pathlib import Path

    import mmr_runtime

    folder = Path(mmr_runtime.__file__).resolve().parents[1] / "models" / "default"
    datas = [(str(file), "mmr_runtime/models/default") for file in folder.iterdir()]

datas += collect_data_files("mmr_runtime", includes=["*.tsv"])

hiddenimports = collect_submodules("mmr_runtime", filter=lambda name: "_pyinstaller" not in name)
hiddenimports += [f"PIL.{name}ImagePlugin" for name in ("Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif")]
