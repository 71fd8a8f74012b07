from xscale.report.table import score_table, shown


def test_scores_are_shown_with_the_digits_that_mean_something():
    assert shown("psnr_cc", 29.456) == "29.46"
    assert shown("ssim", 0.91234) == "0.9123"
    assert shown("psnr", "inf") == "∞"
    assert shown("lpips_vgg", None) == "–"


def test_the_plain_table_is_aligned_and_starts_with_the_fair_row(scored):
    lines = score_table(scored[2]).splitlines()
    assert len(lines) == 8
    assert lines[1].startswith("covered pixels, colour-fitted")
    assert len({len(line) for line in lines}) == 1


def test_the_markdown_table_has_one_row_per_photo_and_escapes_bars(scored):
    scores = {**scored[2], "photos": {"a|b.png": scored[2]["mean"]}}
    text = score_table(scores, markdown=True, photos=True)
    assert "| a\\|b.png |" in text
    rows = [line for line in text.splitlines() if line]
    assert all(line.startswith("|") and line.endswith("|") for line in rows)
    assert "\u00a0" not in text


def test_masked_scores_get_a_row_where_there_are_any(scored):
    mean = {**scored[2]["mean"], "psnr_masked": 31.0}
    assert "covered and not masked" in score_table({**scored[2], "mean": mean})
    assert "not masked" not in score_table(scored[2])
