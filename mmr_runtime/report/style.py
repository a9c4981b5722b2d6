"""How the report looks, and the little that it does."""

from __future__ import annotations

COLOURS = {
    "Happy": "#e9b200",
    "Funny": "#e8833a",
    "Sad": "#4a7ab5",
    "Tender": "#d87ba0",
    "Exciting": "#2e9e83",
    "Angry": "#b83232",
    "Scary": "#6c4f93",
}
"""A colour for each mood, apart in hue and lightness on light ground and on dark."""

STYLE = """
:root { color-scheme: light dark; --paper: #faf8f4; --ink: #23211d; --soft: #6d675d; --line: #e3ded4; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #191817; --ink: #ece8e1; --soft: #a29b90; --line: #35322e; --card: #232120; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 78rem; padding: 2.2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK JP", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: .1rem 0 0; font-size: 1.08rem; font-weight: 620; overflow-wrap: anywhere; }
p { margin: 0; } .facts, .artist, .where { color: var(--soft); font-size: .87rem; }
.strip { margin: 1.4rem 0 .7rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
.track { padding: 12px 0 0; } .pages, .segments { display: flex; }
.page { flex: none; height: 128px; display: flex; flex-direction: column; align-items: center;
  justify-content: flex-end; color: var(--soft); text-decoration: none; }
.page img { max-width: 72px; max-height: 104px; border-radius: 2px; box-shadow: 0 1px 3px #0005; }
.page:hover img { outline: 2px solid var(--ink); }
.page small { font-size: .7rem; line-height: 1.6; font-variant-numeric: tabular-nums; }
.blank { width: 66px; height: 96px; display: grid; place-items: center; border: 1px dashed var(--line); }
.segment { flex: none; margin: 6px 2px 8px; padding: 4px 9px; border-radius: 6px; overflow: clip;
  white-space: nowrap; font-size: .82rem; font-weight: 560; text-decoration: none;
  color: var(--ink); background: color-mix(in srgb, var(--c) 24%, var(--card)); border-left: 4px solid var(--c); }
.segment span { position: sticky; left: 9px; }
.segment:hover { background: color-mix(in srgb, var(--c) 40%, var(--card)); }
.river { display: block; } .river polygon { opacity: .88; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; color: var(--soft); font-size: .83rem; }
.legend i { display: inline-block; width: .72rem; height: .72rem; border-radius: 3px; margin-right: .35rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; margin-top: 1.6rem; }
article { padding: .95rem 1.1rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  border-top: 4px solid var(--c); min-width: 0; }
article:target { box-shadow: 0 0 0 3px color-mix(in srgb, var(--c) 55%, transparent); }
audio { width: 100%; height: 2.4rem; margin: .75rem 0 .6rem; }
.bars { display: grid; grid-template-columns: auto 1fr; gap: .3rem .6rem; align-items: center; color: var(--soft);
  font-size: .78rem; }
.bar { display: flex; height: .6rem; border-radius: 3px; overflow: hidden; }
.bar i { min-width: 0; } summary { cursor: pointer; color: var(--soft); font-size: .85rem; margin-top: .7rem; }
ol, .notes ul { margin: .35rem 0 0; padding-left: 1.3rem; font-size: .87rem; }
ol li { overflow-wrap: anywhere; } ol b { float: right; font-weight: 450; color: var(--soft); }
.notes { margin-top: 2rem; } @media print { .strip { overflow: visible; } audio { display: none; } }
"""

SCRIPT = """
for (const player of document.querySelectorAll("audio")) {
  player.addEventListener("play", () => {
    if (!player.played.length) player.currentTime = Number(player.dataset.start);
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
  });
  player.addEventListener("error", () => player.replaceWith("the song is not where it was"), true);
}
"""
