"""``maskhub mask | unmask | translate`` for films, with a progress bar."""

from maskhub.errors import ConfigError

__all__ = ["mask_by_rule", "translate_film"]


def mask_by_rule(source, output, wearing, force, provenance):
    """Put rule-based masks on the faces of a film; ``wearing`` is a :class:`maskhub.data.masked.Wearing`."""
    from maskhub.pipelines.live import FrameTranslator
    from maskhub.pipelines.translator import RuleMasker
    from maskhub.provenance import RULE, Provenance

    masker = RuleMasker(wearing.look, wearing.chosen_colour, wearing.way, wearing.portion)
    tag = Provenance("mask", RULE) if provenance else None
    return _run(source, output, FrameTranslator(masker, "mask", seed=wearing.seed, force=force), tag)


def translate_film(direction, source, output, pipeline, seed, force, provenance):
    """Translate the faces of a film with a pipeline."""
    from maskhub.pipelines.live import FrameTranslator

    tag = pipeline.provenance(direction) if provenance else None
    return _run(source, output, FrameTranslator(pipeline, direction, seed=seed, force=force), tag)


def _run(source, output, translator, tag):
    from contextlib import closing

    from tqdm import tqdm

    from maskhub.data.workers import processors
    from maskhub.onnx_session import limited_threads
    from maskhub.pipelines.outcomes import frames_left
    from maskhub.pipelines.video import Film

    if output.is_dir():
        raise ConfigError(f"{output} is a folder: give a file name, as in {output / source.name}.")
    film = Film(source, output, translator, tag)
    bar = tqdm(total=film.total or None, unit="frame")
    # the other cores are for tracking, reading and writing
    with bar, limited_threads(max(1, processors() // 2)), closing(iter(film)) as steps:
        for _ in steps:
            bar.update()
        bar.total = film.report.frames
        bar.refresh()
    report = film.report
    damaged = f", {report.damaged} damaged packets skipped" if report.damaged else ""
    print(f"wrote {output}: {report.with_faces} of {report.frames} frames with a face, sound {report.sound}{damaged}")
    for clause in frames_left(translator.outcomes):
        print(clause)
    return 0
