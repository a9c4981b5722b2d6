"""Manga-like pages from a seed, with the labels of what they were drawn to carry.

Which convention stands for which mood:

- Happy: open, even grid; rays, glints, music notes, white; arched or shining eyes, wide smiles, raised arms; round
  balloons and light round sounds.
- Funny: many small even panels, columns of four; coarse dots, lightning, ruled gloom; chibi bodies, dot, blank or
  spiral eyes, sweat drops; crowded and spiked balloons with much text.
- Sad: wide silent panels, some black gutters; rain, falling leaves, grey that sinks from above, empty white; wet or
  lowered eyes, tears, figures bowed, turned away or small; few balloons, small letters.
- Tender: few large panels, often without borders; blossoms, bubbles of light, petals, pale haze; soft eyes, blush,
  two heads close together, hands; few round balloons, small letters.
- Exciting: slanted gutters, splash panels, bleeding; speed lines, focus lines, bursts; fierce eyes, figures in mid-
  leap or strike; spiked balloons, huge thick sounds.
- Angry: slanted gutters, large heads; black with white flash lines, dark flames, cross-hatching; brows inwards,
  bared teeth, crossed veins, creases; spiked balloons, large letters.
- Scary: black gutters, tilted panels; black, scratches, running ink, night; shrunken pupils, hollow eyes, slit
  grins, ruled dread, silhouettes, reaching hands; trembling balloons, white on black.

Sources: S. McCloud, "Understanding Comics" (1993), chapters 3 to 5 (panels and time, motion lines, expressive
grounds); N. Cohn, "The Visual Language of Comics" (2013), chapters 2, 5 and 8 (carriers, layout, the morphology of
manga); K. Shinohara and Y. Matsunaka, "Pictorial metaphors of emotion in Japanese comics", in "Multimodal Metaphor"
(2009) (popped veins, sweat, loss of pupils, weather and flowers as grounds); W. Eisner, "Comics and Sequential Art"
(1985) (lettering as voice). Nothing is taken from any drawn page; every shape is a formula in these modules.
"""

from __future__ import annotations

from mmr_export.synth.pages.page import Page, generate_page

__all__ = ["Page", "generate_page"]
