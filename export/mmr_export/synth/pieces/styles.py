"""Arrangements: who plays what in each style of background music, several styles for every mood.

A style is a cast: melody instruments and the kinds of line they play, layers of accompaniment, bass, drums, effects.
The numbers (tempo, mode, level...) come from the mood (characters.py); a style only leans on them.
"""

from __future__ import annotations

from .casting import Layer, Style

STYLES: dict[str, Style] = {
    # ------------------------------------------------------------------ Happy
    "sunny ukulele": Style(
        "Happy",
        "whistle|glockenspiel|ukulele|flute",
        "song|hook",
        (
            Layer("strum", "ukulele|guitar|steel guitar", 66, 0.6),
            Layer("root fifth", "bass", 40, 0.7, voicing="bass"),
            Layer("off-beats", "pizzicato|marimba", 64, 0.3, 0.5),
        ),
        "claps|shuffle",
        swing=0.2,
    ),
    "town square": Style(
        "Happy",
        "flute|clarinet|accordion|violin|ocarina",
        "song|dance",
        (
            Layer("oom-pah", "guitar|accordion|pizzicato|harp", 62, 0.5, articulation=0.7),
            Layer("root fifth", "contrabass|tuba|pizzicato", 42, 0.6, voicing="bass"),
            Layer("block", "strings", 60, 0.25, 0.4),
        ),
        "tambourine|none|waltz|jig",
        metres="4/4|3/4|6/8",
    ),
    "bright pop": Style(
        "Happy",
        "piano|clean electric|square|trumpet|saw lead",
        "song|hook",
        (
            Layer("syncopated", "piano|clean electric|organ", 63, 0.5),
            Layer("eighths", "bass|synth bass", 40, 0.7, voicing="bass"),
            Layer("arpeggio", "pluck synth|guitar", 72, 0.3, 0.5),
            Layer("block", "strings|pad", 65, 0.2, 0.5),
        ),
        "pop|pop busy",
    ),
    "chip meadow": Style(
        "Happy",
        "square|pulse",
        "song|hook|dance",
        (
            Layer("arpeggio 16", "pulse", 67, 0.35),
            Layer("eighths", "triangle", 45, 0.7, voicing="bass"),
        ),
        "chip",
    ),
    "light orchestra": Style(
        "Happy",
        "flute|glockenspiel|clarinet|violin|oboe",
        "song|dance",
        (
            Layer("off-beats", "pizzicato|spiccato", 63, 0.5, articulation=0.7),
            Layer("root fifth", "contrabass|pizzicato", 43, 0.6, voicing="bass"),
            Layer("arpeggio", "harp|celesta", 74, 0.3, 0.6),
        ),
        "triangle march|none|waltz",
        metres="4/4|3/4|4/4",
    ),
    "parade": Style(
        "Happy",
        "flute|whistle|clarinet|glockenspiel",
        "dance|fanfare|song",
        (
            Layer("off-beats", "horn|brass|trumpet", 62, 0.4, articulation=0.6),
            Layer("root fifth", "tuba", 39, 0.7, voicing="bass"),
            Layer("block", "strings", 66, 0.2, 0.4),
        ),
        "march|triangle march",
        "crash|timpani",
        also=("Exciting", 1),
    ),
    # ------------------------------------------------------------------ Funny
    "tiptoe": Style(
        "Funny",
        "bassoon|pizzicato|clarinet",
        "sneak",
        (
            Layer("quarters", "pizzicato|contrabass", 45, 0.6, voicing="bass", articulation=0.6),
            Layer("off-beats", "pizzicato|bassoon|clarinet", 60, 0.35, articulation=0.5),
        ),
        "woodblock|none",
        "slide|boing|plop",
        tempo=0.9,
    ),
    "circus": Style(
        "Funny",
        "calliope|accordion|whistle|trumpet|xylophone",
        "chromatic run|dance",
        (
            Layer("oom-pah", "accordion|calliope|honky-tonk", 62, 0.5, articulation=0.6),
            Layer("root fifth", "tuba", 38, 0.7, voicing="bass"),
        ),
        "march|polka",
        "slide|crash",
        tempo=1.15,
        also=("Happy", 1),
    ),
    "rag": Style(
        "Funny",
        "honky-tonk|banjo|clarinet|kazoo",
        "rag|dance",
        (
            Layer("oom-pah", "honky-tonk|banjo", 60, 0.55, articulation=0.7),
            Layer("root fifth", "tuba|honky-tonk|contrabass", 40, 0.6, voicing="bass"),
        ),
        "rag|woodblock|none",
        "slide",
        also=("Happy", 1),
        swing=0.15,
    ),
    "slapstick": Style(
        "Funny",
        "xylophone|bassoon|kazoo|clarinet",
        "chromatic run|sneak|hook",
        (
            Layer("off-beats", "pizzicato|xylophone|banjo", 64, 0.5, articulation=0.5),
            Layer("quarters", "tuba|bassoon|pizzicato", 40, 0.6, voicing="bass", articulation=0.6),
        ),
        "cartoon|woodblock",
        "slide|boing|plop|crash",
        tempo=1.1,
    ),
    "chip prank": Style(
        "Funny",
        "pulse|square",
        "sneak|chromatic run|hook",
        (
            Layer("off-beats", "pulse", 64, 0.35, articulation=0.5),
            Layer("root fifth", "triangle", 43, 0.7, voicing="bass", articulation=0.6),
        ),
        "chip sparse|woodblock",
        "slide|boing",
    ),
    "clumsy band": Style(
        "Funny",
        "clarinet|trumpet|kazoo|bassoon|whistle",
        "rag|sneak|hook",
        (
            Layer("quarters", "contrabass|tuba", 40, 0.7, voicing="bass", articulation=0.8),
            Layer("stabs", "honky-tonk|brass|banjo|piano", 62, 0.45, articulation=0.5),
        ),
        "rag|cartoon|brushes",
        "slide|plop|boing",
        swing=0.25,
    ),
    # ------------------------------------------------------------------ Sad
    "lonely piano": Style(
        "Sad",
        "piano|felt piano",
        "sigh|song",
        (
            Layer("broken", "piano|felt piano", 54, 0.45),
            Layer("whole", "piano|felt piano", 40, 0.5, voicing="bass"),
            Layer("block", "strings|pad", 58, 0.15, 0.3),
        ),
        metres="4/4|4/4|3/4",
    ),
    "elegy": Style(
        "Sad",
        "violin|cello|oboe",
        "sigh|long",
        (
            Layer("block", "strings|strings|low strings", 56, 0.5),
            Layer("whole", "low strings|cello", 38, 0.5, voicing="bass"),
            Layer("broken", "harp", 60, 0.3, 0.3),
        ),
    ),
    "lament": Style(
        "Sad",
        "cello|clarinet|flute|guitar|oboe",
        "sigh|song",
        (
            Layer("broken", "guitar|harp", 56, 0.5),
            Layer("whole", "guitar|contrabass|cello", 40, 0.45, voicing="bass"),
        ),
        metres="4/4|3/4|6/8",
    ),
    "empty room": Style(
        "Sad",
        "felt piano|clean electric|choir",
        "sparse|sigh",
        (
            Layer("block", "warm pad|pad|choir", 56, 0.4),
            Layer("whole", "low strings|warm pad", 38, 0.35, voicing="bass"),
        ),
        "none|none|heart",
    ),
    "last waltz": Style(
        "Sad",
        "accordion|violin|clarinet|music box",
        "sigh|song",
        (
            Layer("oom-pah", "guitar|harp|piano|accordion", 60, 0.35),
            Layer("root fifth", "contrabass|cello", 42, 0.5, voicing="bass"),
            Layer("block", "strings", 62, 0.25, 0.6),
        ),
        metres="3/4",
        tempo=1.3,
    ),
    # ------------------------------------------------------------------ Tender
    "lullaby": Style(
        "Tender",
        "music box|celesta|glockenspiel",
        "song|long",
        (
            Layer("broken", "music box|harp|celesta", 67, 0.4),
            Layer("block", "warm pad|strings", 60, 0.25, 0.6),
            Layer("whole", "warm pad|harp", 48, 0.3, 0.7, "bass"),
        ),
        metres="3/4|6/8|4/4",
        register=7,
    ),
    "love theme": Style(
        "Tender",
        "felt piano|piano|violin|flute",
        "song|long",
        (
            Layer("broken", "felt piano|piano|harp", 58, 0.45),
            Layer("block", "strings|warm pad", 60, 0.3, 0.8),
            Layer("whole", "piano|low strings|contrabass", 43, 0.45, voicing="bass"),
        ),
        metres="4/4|4/4|3/4",
    ),
    "fireside": Style(
        "Tender",
        "guitar|flute|ocarina|clarinet",
        "song|sparse",
        (
            Layer("broken", "guitar|guitar|steel guitar", 60, 0.55),
            Layer("whole", "guitar|contrabass", 43, 0.45, voicing="bass"),
        ),
        metres="4/4|3/4|6/8",
    ),
    "embrace": Style(
        "Tender",
        "horn|oboe|violin|clarinet|flute",
        "long|song",
        (
            Layer("block", "strings|choir", 60, 0.45),
            Layer("arpeggio", "harp|celesta", 70, 0.3, 0.7),
            Layer("whole", "low strings|contrabass", 43, 0.4, voicing="bass"),
        ),
    ),
    "first snow": Style(
        "Tender",
        "celesta|flute|oboe|piano",
        "song|sparse|long",
        (
            Layer("arpeggio", "celesta|harp|piano", 70, 0.4),
            Layer("block", "strings|choir|warm pad", 62, 0.35),
            Layer("whole", "contrabass|low strings|piano", 43, 0.45, voicing="bass"),
        ),
        "none|none|brushes",
        metres="4/4|4/4|6/8",
    ),
    # ------------------------------------------------------------------ Exciting
    "battle": Style(
        "Exciting",
        "brass|trumpet|horn|strings|violin",
        "fanfare|rising|hook",
        (
            Layer("ostinato", "spiccato|spiccato|strings", 60, 0.6, articulation=0.8),
            Layer("eighths", "spiccato|low strings", 43, 0.6, voicing="bass"),
            Layer("stabs", "brass", 62, 0.45, 0.7, articulation=0.5),
            Layer("block", "choir|brass", 64, 0.3, 0.4),
        ),
        "epic|epic|taiko",
        "riser|crash|timpani",
    ),
    "night race": Style(
        "Exciting",
        "saw lead|square|pluck synth",
        "hook|rising|run",
        (
            Layer("arpeggio 16", "pluck synth|saw lead", 69, 0.5),
            Layer("eighths off", "synth bass|growl bass", 38, 0.7, voicing="bass"),
            Layer("block", "pad|strings|saw lead", 62, 0.25, 0.7),
        ),
        "four on floor|breakbeat",
        "riser|crash",
    ),
    "hero rock": Style(
        "Exciting",
        "lead guitar|saw lead|organ|trumpet",
        "rising|hook|fanfare",
        (
            Layer("chug", "crunch guitar|distorted guitar", 45, 0.5, voicing="power"),
            Layer("eighths", "bass", 36, 0.7, voicing="bass"),
            Layer("syncopated", "organ|piano|strings", 64, 0.3, 0.5),
        ),
        "rock|rock fast|breakbeat",
        "crash|riser",
        also=("Angry", 1),
    ),
    "chip boss": Style(
        "Exciting",
        "square|pulse",
        "run|rising|hook",
        (
            Layer("arpeggio 16", "pulse", 67, 0.4),
            Layer("gallop", "triangle", 43, 0.7, voicing="bass"),
        ),
        "chip fast|chip",
        "riser",
    ),
    "adventure": Style(
        "Exciting",
        "trumpet|horn|brass|strings",
        "fanfare|rising",
        (
            Layer("gallop", "spiccato|strings|brass", 60, 0.5, articulation=0.7),
            Layer("quarters", "low strings|tuba|contrabass", 41, 0.6, voicing="bass"),
            Layer("block", "strings|choir", 64, 0.35, 0.7),
        ),
        "epic|march|taiko",
        "timpani|crash|riser",
        metres="4/4|4/4|6/8",
        also=("Happy", 1),
    ),
    # ------------------------------------------------------------------ Angry
    "metal": Style(
        "Angry",
        "lead guitar|distorted guitar",
        "riff|shred",
        (
            Layer("chug 16", "distorted guitar", 40, 0.6, voicing="power", articulation=0.7),
            Layer("chug 16", "distorted guitar", 47, 0.4, 0.6, "power", 0.8),
            Layer("eighths", "bass|growl bass", 33, 0.6, voicing="bass"),
        ),
        "double kick|blast|rock fast",
        "crash",
        gain=0.45,
    ),
    "machine": Style(
        "Angry",
        "saw lead|distorted guitar|lead guitar",
        "riff",
        (
            Layer("sixteenths", "growl bass", 38, 0.6, voicing="bass"),
            Layer("stabs", "distorted guitar|saw lead", 48, 0.5, voicing="power", articulation=0.6),
            Layer("chug", "distorted guitar", 43, 0.5, 0.6, "power"),
        ),
        "industrial|four hard",
        "riser|crash",
        gain=0.5,
    ),
    "wrath": Style(
        "Angry",
        "brass|low strings|dark choir",
        "riff|fanfare",
        (
            Layer("sixteenths", "spiccato|low strings", 45, 0.6, voicing="bass"),
            Layer("stabs", "brass|brass|organ", 54, 0.7, voicing="cluster", articulation=0.5),
            Layer("chug", "distorted guitar", 40, 0.45, 0.6, "power"),
        ),
        "war|taiko|double kick",
        "timpani|crash",
        also=("Exciting", 1),
        gain=0.6,
    ),
    "punk": Style(
        "Angry",
        "lead guitar|distorted guitar",
        "riff|hook",
        (
            Layer("chug", "distorted guitar", 45, 0.6, voicing="power", articulation=1.2),
            Layer("eighths", "bass", 35, 0.6, voicing="bass"),
        ),
        "punk|rock fast",
        "crash",
        tempo=1.1,
        gain=0.45,
    ),
    "overlord": Style(
        "Angry",
        "brass|organ|strings|dark choir",
        "riff|rising|fanfare",
        (
            Layer("ostinato", "spiccato|strings|organ", 54, 0.6, articulation=0.8),
            Layer("eighths", "low strings|growl bass|spiccato", 38, 0.7, voicing="bass"),
            Layer("block", "dark choir|choir|brass", 60, 0.45, voicing="chord"),
        ),
        "war|epic|rock fast|double kick",
        "crash|timpani|riser",
        also=("Scary", 1),
        gain=0.6,
    ),
    # ------------------------------------------------------------------ Scary
    "clusters": Style(
        "Scary",
        "theremin|harmonics|violin",
        "wail|sparse",
        (
            Layer("block", "tremolo strings", 70, 0.5, voicing="cluster", articulation=1.2),
            Layer("whole", "low strings|tremolo strings|drone", 36, 0.5, voicing="drone"),
            Layer("block", "dark choir", 58, 0.35, 0.4, "cluster"),
        ),
        "none|boom",
        "stinger|wind",
    ),
    "abyss": Style(
        "Scary",
        "bell|glass|dark choir|",
        "sparse",
        (
            Layer("whole", "drone|drone|dark choir", 32, 0.7, voicing="drone", articulation=1.3),
            Layer("block", "harmonics|glass|dark choir", 76, 0.3, 0.7, "cluster"),
        ),
        "none|boom|heart",
        "wind|stinger|bell",
        tempo=0.9,
    ),
    "broken toy": Style(
        "Scary",
        "music box|celesta|glass",
        "sparse|song|chromatic run",
        (
            Layer("whole", "drone|low strings", 34, 0.5, voicing="drone"),
            Layer("broken", "music box|celesta", 70, 0.35, 0.6),
            Layer("block", "tremolo strings|harmonics", 74, 0.3, 0.6, "cluster"),
        ),
        "none",
        "wind|stinger",
        metres="3/4|4/4",
        detune=0.25,
    ),
    "stalker": Style(
        "Scary",
        "cello|piano|bassoon|tremolo strings",
        "sneak|sparse",
        (
            Layer("quarters", "low strings|contrabass|piano", 34, 0.6, voicing="drone", articulation=0.5),
            Layer("block", "tremolo strings|harmonics", 68, 0.35, 0.8, "cluster"),
        ),
        "heart|ticks|boom",
        "stinger|wind|riser",
        register=-7,
    ),
    "dead church": Style(
        "Scary",
        "organ|dark choir|bell",
        "wail|sparse|long",
        (
            Layer("block", "organ|dark choir", 52, 0.45, voicing="cluster"),
            Layer("whole", "organ|drone", 31, 0.5, voicing="drone"),
        ),
        "none|boom",
        "bell|wind",
    ),
}
