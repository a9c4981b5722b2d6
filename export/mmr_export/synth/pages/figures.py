"""Bodies: busts for close shots, jointed figures in poses for the others. Units: a figure is 1 high, hips at 0, 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmr_export.synth.pages.cast import Expression, Look
from mmr_export.synth.pages.faces import draw_back, draw_hair_behind, draw_head
from mmr_export.synth.pages.ink import BLACK, WHITE, Array, Pen, curve, limb, ring
from mmr_export.synth.pages.tone import Screen, shade

Joint = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """Angles in degrees: 0 points down, positive towards +x (the way the figure faces).

    Attributes:
        lean: of the trunk from upright.
        arms: (upper, lower) of the far arm, then of the near arm.
        legs: (thigh, shin) of the far leg, then of the near leg.
        nod: of the head.
        sink: how far the hips are below standing height, in figure heights.
    """

    lean: float
    arms: tuple[float, float, float, float]
    legs: tuple[float, float, float, float]
    nod: float = 0.0
    sink: float = 0.0


POSES: dict[str, Pose] = {
    "stand": Pose(0, (-10, -5, 10, 5), (-5, -3, 5, 3)),
    "walk": Pose(4, (25, 40, -25, -10), (-22, -30, 22, 10)),
    "run": Pose(24, (60, 130, -60, 20), (-45, -115, 65, 5), -10, 0.03),
    "leap": Pose(18, (120, 150, -80, -60), (-60, -80, 75, 20), -12, -0.1),
    "punch": Pose(28, (-70, 30, 92, 90), (-42, -50, 50, 8), 0, 0.06),
    "kick": Pose(-24, (-60, 40, 60, 120), (-8, -16, 98, 92), 5),
    "slash": Pose(22, (130, 165, 115, 160), (-45, -50, 50, 5), 0, 0.07),
    "cheer": Pose(0, (-150, -165, 150, 165), (-8, -4, 8, 4)),
    "hop": Pose(-4, (-130, -160, 140, 165), (-25, -95, 15, -60), 0, -0.12),
    "point": Pose(5, (-15, 10, 88, 92), (-14, -10, 14, 10)),
    "akimbo": Pose(0, (-40, 55, 40, -55), (-14, -8, 14, 8)),
    "clench": Pose(8, (-25, 35, 25, 60), (-16, -12, 16, 12), 12),
    "slump": Pose(14, (2, 8, 6, 12), (-3, -2, 4, 2), 32),
    "kneel": Pose(22, (10, 20, 16, 30), (70, -85, 85, -80), 40, 0.26),
    "hug_knees": Pose(30, (50, 80, 55, 85), (118, 20, 125, 25), 42, 0.38),
    "sit": Pose(-4, (10, 45, 20, 60), (85, 5, 92, 8), 8, 0.2),
    "cower": Pose(-18, (60, 150, 75, 165), (-10, -40, 40, -10), -6, 0.1),
    "stagger": Pose(-22, (-70, -40, 80, 110), (-30, -40, 25, -5), -10, 0.03),
    "loom": Pose(16, (50, 75, 70, 80), (-10, -6, 12, 6), 25),
    "offer": Pose(6, (0, 20, 55, 85), (-6, -4, 8, 4), 8),
    "fall": Pose(-60, (-100, -120, 120, 140), (40, 10, 75, 60), -20, 0.1),
    "tumble": Pose(-95, (-120, -100, 150, 170), (110, 150, 140, 100), 0, 0.05),
}


def _from(joint: Joint, angle: float, length: float) -> Joint:
    a = math.radians(angle)
    return joint[0] + math.sin(a) * length, joint[1] + math.cos(a) * length


def _cloth(pen: Pen, points: Array, density: float, screen: Screen) -> None:
    """A piece of clothing: white, toned or black; black has a light rim, so that it parts from black grounds.

    A density of 2 is a silhouette, black without that rim.
    """
    if density >= 1:
        pen.shape(points, BLACK, edge=WHITE if density < 2 else BLACK, weight=0.7)
        return
    pen.shape(points, WHITE)
    if density > 0:
        shade(pen, points, density, screen)
        pen.path(np.concatenate([points, points[:1]]))


def draw_figure(
    pen: Pen,
    look: Look,
    pose: Pose,
    mood: Expression,
    rng: np.random.Generator,
    screen: Screen,
    *,
    chibi: bool = False,
    back: bool = False,
    silhouette: bool = False,
    item: str = "",
) -> None:
    """A whole figure.

    Args:
        pen: origin at the ground under the figure, one unit = its standing height.
        look: who.
        pose: how they hold themselves.
        mood: the expression.
        rng: randomness of the drawing.
        screen: tone of clothes and hair.
        chibi: two and a half heads tall.
        back: seen from behind.
        silhouette: solid black.
        item: what the near hand holds: "", "sword", "umbrella", "flower" or "gun".
    """
    head, trunk, leg, arm = (0.2, 0.26, 0.14, 0.085) if chibi else (0.084, 0.28, 0.245, 0.16)
    hips = (0.0, -2 * leg + pose.sink * (0.5 if chibi else 1.0))
    neck = _from(hips, 180 - pose.lean, trunk)
    thick = 0.052 if chibi else 0.036
    if silhouette:
        look = Look(look.word, look.hair, "black", look.lashes, look.jaw, 2.0, 2.0, look.skirt, look.cape)
    if look.cape:
        _cape(pen, neck, hips, pose, screen)
    shoulder = _from(hips, 180 - pose.lean, trunk * 0.92)
    _arm(pen, shoulder, pose.arms[:2], arm, thick, look, screen)
    for i in (0, 2):
        _leg(pen, hips, pose.legs[i : i + 2], leg, thick, look, screen, silhouette)
    _trunk(pen, hips, neck, pose.lean, thick, look, screen)
    hand = _hand(shoulder, pose.arms[2:], arm)
    if item:
        draw_item(pen, item, hand, pose.arms[3])
    centre = _from(neck, 180 - pose.lean + pose.nod * 0.5, head * (0.8 if chibi else 1.25))
    face = pen.at(*centre, head, angle=math.radians(pose.lean * 0.5 + pose.nod * 0.7))
    if silhouette:
        face.shape(ring(0, 0, 0.95, 1.1), BLACK)
    if back or silhouette:
        draw_back(face, look, screen)
        if silhouette:
            face.fill(ring(0, 0.1, 0.9, 1.05))
    else:
        draw_head(face, look, mood, rng, screen, turn=0.22, chibi=chibi)
    _arm(pen, shoulder, pose.arms[2:], arm, thick, look, screen)
    pen.shape(ring(*hand, thick * 0.75, thick * 0.8, sides=10), BLACK if silhouette else WHITE)


def _joint(pen: Pen, at: Joint, radius: float, density: float, screen: Screen) -> None:
    """Rub out the lines between two limbs of equal cloth."""
    spot = ring(*at, radius * 0.8, radius * 0.8, sides=12)
    pen.fill(spot, BLACK if density >= 1 else WHITE)
    if 0 < density < 1:
        shade(pen, spot, density, screen)


def _hand(shoulder: Joint, angles: tuple[float, ...], arm: float) -> Joint:
    return _from(_from(shoulder, angles[0], arm), angles[1], arm)


def _arm(
    pen: Pen, shoulder: Joint, angles: tuple[float, ...], arm: float, thick: float, look: Look, screen: Screen
) -> None:
    elbow = _from(shoulder, angles[0], arm)
    # Light tops have short sleeves; the forearm is bare.
    lower = look.top if look.top >= 0.5 else 0.0
    _cloth(pen, limb(elbow, _from(elbow, angles[1], arm), thick * 0.72, thick * 0.55), lower, screen)
    _cloth(pen, limb(shoulder, elbow, thick * 0.9, thick * 0.75), look.top, screen)
    if lower == look.top:
        _joint(pen, elbow, thick * 0.75, lower, screen)


def _leg(
    pen: Pen, hips: Joint, angles: tuple[float, ...], leg: float, thick: float, look: Look, screen: Screen, dark: bool
) -> None:
    knee = _from(hips, angles[0], leg)
    foot = _from(knee, angles[1], leg * 0.94)
    cloth = 0.0 if look.skirt and not dark else look.bottom
    _cloth(pen, limb(knee, foot, thick * 0.9, thick * 0.62), cloth, screen)
    _cloth(pen, limb(hips, knee, thick * 1.25, thick * 0.95), cloth, screen)
    _joint(pen, knee, thick * 0.9, cloth, screen)
    if cloth < 1:
        pen.stroke([(knee[0] - thick * 0.5, knee[1]), (knee[0] + thick * 0.2, knee[1] + thick * 0.4)], weight=0.7)
    toe = _from(foot, angles[1] + 75, thick * 1.6)
    pen.shape(limb(foot, toe, thick * 0.75, thick * 0.55), BLACK)


def _trunk(pen: Pen, hips: Joint, neck: Joint, lean: float, thick: float, look: Look, screen: Screen) -> None:
    across = math.radians(-lean)
    sx, sy = math.cos(across), -math.sin(across)
    broad, slim = thick * (2.0 + 0.7 * look.jaw), thick * 1.5
    left, right = (neck[0] - sx * broad, neck[1] - sy * broad), (neck[0] + sx * broad, neck[1] + sy * broad)
    low = [(hips[0] + sx * slim, hips[1] + 0.01 + sy * slim), (hips[0] - sx * slim, hips[1] + 0.01 - sy * slim)]
    pen.shape(limb(neck, _from(neck, 180 - lean, 0.05), thick * 0.6, thick * 0.6), WHITE)
    _cloth(pen, curve([left, neck, right, *low], closed=True, steps=3), look.top, screen)
    ink = WHITE if look.top >= 1 else BLACK
    for share in (0.25, 0.55, 0.8):
        x, y = hips[0] + (neck[0] - hips[0]) * share, hips[1] + (neck[1] - hips[1]) * share
        pen.stroke([(x - sx * slim * 1.1, y - 0.02), (x - sx * slim * 0.1, y + 0.015)], weight=0.8, ink=ink)
    if look.skirt:
        flare = thick * 3.2
        hem = hips[1] + 0.14
        x = hips[0]
        skirt = np.array(
            [
                (x - slim, hips[1] - 0.04),
                (x + slim, hips[1] - 0.04),
                (x + flare, hem),
                (x, hem + 0.02),
                (x - flare, hem),
            ]
        )
        _cloth(pen, skirt, look.bottom, screen)
        for share in (-0.5, 0.0, 0.5):
            pen.stroke(
                [(x + slim * share, hips[1]), (x + flare * share, hem)],
                weight=0.7,
                ink=WHITE if look.bottom >= 1 else BLACK,
            )


def _cape(pen: Pen, neck: Joint, hips: Joint, pose: Pose, screen: Screen) -> None:
    sweep = -0.12 - abs(pose.lean) * 0.012
    hem = hips[1] + 0.22
    points = [
        (neck[0] + 0.06, neck[1]),
        (neck[0] - 0.07, neck[1]),
        (hips[0] + sweep - 0.1, hem),
        (hips[0] + sweep, hem - 0.06),
    ]
    points += [(hips[0] + sweep + 0.07, hem + 0.02), (hips[0] + 0.05, hem - 0.05)]
    _cloth(pen, curve(points, closed=True, steps=3), 1.0 if pose.lean > 10 else 0.6, screen)


def draw_item(pen: Pen, item: str, hand: Joint, angle: float) -> None:
    """What a hand holds; `pen` in figure units."""
    tip = _from(hand, angle + 25, 0.62)
    if item == "sword":
        pen.lined(1.0).shape(limb(_from(hand, angle + 205, 0.1), hand, 0.012, 0.012), BLACK)
        pen.shape([_from(hand, angle + 115, 0.014), tip, _from(hand, angle - 65, 0.014)], WHITE)
        pen.stroke([_from(hand, angle + 115, 0.06), _from(hand, angle - 65, 0.06)], weight=3, ends=(1, 1))
    elif item == "umbrella":
        top = (hand[0] - 0.03, hand[1] - 0.42)
        pen.path([hand, top], weight=1.2)
        canopy = [(top[0] + math.cos(t) * 0.3, top[1] + 0.14 - math.sin(t) * 0.18) for t in np.linspace(0, math.pi, 12)]
        pen.shape(canopy, BLACK)
    elif item == "flower":
        pen.path([hand, (hand[0] + 0.02, hand[1] - 0.14)])
        for t in np.linspace(0, 2 * math.pi, 5, endpoint=False):
            pen.shape(
                ring(hand[0] + 0.02 + math.cos(t) * 0.022, hand[1] - 0.15 + math.sin(t) * 0.022, 0.018, 0.018, sides=8)
            )
    elif item == "gun":
        end = _from(hand, angle, 0.11)
        pen.shape(limb(hand, end, 0.018, 0.016), BLACK)
        pen.shape(limb(hand, _from(hand, angle - 80, 0.05), 0.014, 0.014), BLACK)


def draw_bust(
    pen: Pen,
    look: Look,
    mood: Expression,
    rng: np.random.Generator,
    screen: Screen,
    *,
    turn: float = 0.0,
    back: bool = False,
) -> None:
    """Head and shoulders; origin at the face, one unit = half the head's height."""
    broad = 1.75 + 0.6 * look.jaw
    slope = 1.75 if look.jaw > 0.5 else 1.65
    shoulders = curve(
        [
            (-0.4, 1.25),
            (-1.1, slope - 0.1),
            (-broad, slope + 0.45),
            (-broad - 0.25, 4.6),
            (broad + 0.25, 4.6),
            (broad, slope + 0.45),
            (1.1, slope - 0.1),
            (0.4, 1.25),
        ],
        steps=4,
    )
    if not back:
        if look.hair == "long":
            _long_fall(pen, look, screen)
        draw_hair_behind(pen, look, screen)
    _cloth(pen, shoulders, look.top, screen)
    if not back:
        pen.shape([(-0.36, 0.8), (0.36, 0.8), (0.42, 1.5), (0, 2.15), (-0.42, 1.5)], WHITE)
        shade(pen, [(-0.36, 0.85), (0.36, 0.85), (0.38, 1.15), (0.1, 1.35), (-0.38, 1.1)], 0.4, screen)
        light = WHITE if look.top >= 1 else BLACK
        for side in (-1, 1):
            pen.shape(
                [(side * 0.4, 1.3), (side * 0.85, 1.6), (side * 0.5, 2.25), (0, 2.15)], WHITE if look.top < 1 else 60
            )
            for x, y in ((0.72, 1.3), (0.6, 1.7), (0.35, 2.0)):
                pen.stroke(
                    [(side * broad * x, slope + y), (side * broad * (x + 0.08), slope + y + 1.2)], weight=0.9, ink=light
                )
            pen.stroke([(side * broad * 0.62, slope + 0.2), (side * broad * 0.8, slope + 0.8)], weight=0.8, ink=light)
    if back:
        draw_back(pen, look, screen)
    else:
        draw_head(pen, look, mood, rng, screen, turn=turn, behind=False)


def _long_fall(pen: Pen, look: Look, screen: Screen) -> None:
    fall = curve(
        [(-1.1, -0.3), (-1.35, 1.2), (-1.3, 3.4), (-0.6, 3.0), (0.6, 3.0), (1.3, 3.4), (1.35, 1.2), (1.1, -0.3)],
        closed=True,
        steps=4,
    )
    density = {"black": 1.0, "tone": 0.48, "light": 0.0}[look.hair_ink]
    _cloth(pen, fall, density, screen)


def draw_fist(pen: Pen, screen: Screen) -> None:
    """A clenched fist on a forearm, knuckles towards the reader; one unit = half the fist's height."""
    arm = limb((-3.4, 3.6), (-0.2, 0.3), 1.25, 0.75)
    pen.shape(arm, WHITE, weight=1.4)
    shade(pen, limb((-3.0, 3.8), (0.1, 0.6), 0.7, 0.4), 0.45, screen)
    sleeve = limb((-4.4, 4.6), (-1.9, 2.0), 1.7, 1.35)
    pen.shape(sleeve, BLACK)
    pen.shape(curve([(-0.95, -0.6), (1.0, -0.6), (1.05, 0.8), (-0.9, 0.9)], closed=True), WHITE, weight=1.4)
    for i, y in enumerate((-0.55, -0.68, -0.62, -0.45)):
        x = -0.72 + 0.48 * i
        pen.shape(limb((x, y), (x + 0.02, 0.42), 0.27, 0.25), WHITE, weight=1.3)
        pen.stroke([(x - 0.14, y + 0.12), (x, y + 0.2), (x + 0.14, y + 0.1)], weight=1.1)
        shade(pen, limb((x + 0.06, 0.05), (x + 0.06, 0.42), 0.2, 0.2), 0.35, screen)
    pen.shape(limb((-0.85, 0.35), (0.35, 0.62), 0.3, 0.22), WHITE, weight=1.4)
    pen.stroke([(0.22, 0.5), (0.48, 0.56)], weight=1.1)


def draw_hand_reach(pen: Pen, ink: int, rng: np.random.Generator) -> None:
    """A spread hand with long fingers reaching upwards; one unit = the palm's width."""
    edge = WHITE if ink == BLACK else BLACK
    pen.shape([(-0.4, 0.5), (0.4, 0.5), (0.32, 3.5), (-0.32, 3.5)], ink, edge=edge)
    for i, lean in enumerate((-0.75, -0.28, 0.0, 0.28, 0.6)):
        base = (-0.42 + 0.21 * i, -0.2)
        length = (0.75, 1.15, 1.3, 1.15, 0.85)[i] * rng.uniform(0.9, 1.1)
        knuckle = (base[0] + lean * 0.6, base[1] - length * 0.55)
        tip = (knuckle[0] + lean * 0.15, knuckle[1] - length * 0.55)
        pen.shape(limb(base, knuckle, 0.15, 0.12), ink, edge=edge)
        pen.shape(limb(knuckle, tip, 0.12, 0.05), ink, edge=edge)
    pen.shape(curve([(-0.5, -0.3), (0.5, -0.3), (0.45, 0.6), (-0.45, 0.6)], closed=True), ink, edge=edge)


def draw_clasped(pen: Pen, screen: Screen) -> None:
    """Two hands, one laid over the other; one unit = a palm's length."""
    _sleeved_arm(pen, (4.2, -1.1), (0.6, 0.05), screen, 0.5)
    pen.shape(ring(0.25, 0.18, 0.72, 0.46, angle=-0.2), WHITE, weight=1.2)
    for i in range(4):
        pen.shape(limb((-0.15, 0.1 + 0.17 * i), (-0.95, 0.28 + 0.15 * i), 0.13, 0.1), WHITE, weight=1.1)
    _sleeved_arm(pen, (-4.2, 1.7), (-0.75, 0.3), screen, 1.0)
    pen.shape(ring(-0.45, 0.18, 0.62, 0.44, angle=-0.25), WHITE, weight=1.2)
    for i in range(4):
        start, stop = (-0.15, -0.1 + 0.17 * i), (0.72 - 0.06 * i, -0.3 + 0.17 * i)
        pen.shape(limb(start, stop, 0.14, 0.1), WHITE, weight=1.1)
        pen.stroke([(stop[0] - 0.06, stop[1] - 0.05), (stop[0] + 0.06, stop[1])], weight=0.8)
    pen.shape(limb((-0.55, -0.1), (0.1, -0.42), 0.15, 0.1), WHITE, weight=1.1)
    shade(pen, limb((-0.3, 0.62), (0.5, 0.5), 0.08, 0.1), 0.4, screen)


def _sleeved_arm(pen: Pen, start: Joint, wrist: Joint, screen: Screen, density: float) -> None:
    pen.shape(limb(start, wrist, 0.75, 0.38), WHITE, weight=1.2)
    cuff = (start[0] * 0.45 + wrist[0] * 0.55, start[1] * 0.45 + wrist[1] * 0.55)
    _cloth(pen, limb(start, cuff, 0.95, 0.62), density, screen)
