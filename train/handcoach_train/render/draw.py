"""Painting posed arms with OpenGL: skin, nails, creases, light with a soft shadow, sleeve, table.

moderngl's EGL backend needs no screen: a GPU where there is one, Mesa's llvmpipe otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcoach_train.errors import TrainError
from handcoach_train.render.arm import Arm, Floats, vertex_normals
from handcoach_train.render.godot import textures as godot_skins
from handcoach_train.render.things import Thing

SHADOW = 512

# Skin from pale to dark, sRGB, after the Fitzpatrick types.
TONES = (
    np.array([[246, 214, 190], [228, 180, 148], [200, 140, 100], [150, 94, 62], [98, 60, 42], [60, 38, 30]])
    / 255.0
)


@dataclass
class Look:
    """How one arm looks: linear albedo of back, palm, nail; texture or none; sleeve, band, watch and ring."""

    back: Floats
    palm: Floats
    nail: Floats
    texture: int = -1
    contrast: float = 1.0
    gloss: float = 0.2
    sleeve: float = 9.0  # metres up the forearm from the wrist at which cloth begins
    cloth: Floats = field(default_factory=lambda: np.full(3, 0.3))
    pattern: int = 0  # of the cloth: 0 plain, 1 rings, 2 lengthwise stripes, 3 checks, 4 speckles
    stripe: float = 80.0  # repeats of the pattern per metre
    loose: float = 0.008  # metres from the skin to the cloth at its edge
    band: float = 9.0  # metres up the forearm of a watch or bracelet
    band_width: float = 0.008  # half of it, metres
    watch: float = 0.0  # half the width of the watch's face, metres, 0 none
    band_colour: Floats = field(default_factory=lambda: np.full(3, 0.1))
    ring: float = -9.0  # the finger that wears a ring, -9 none
    ring_at: float = 0.4  # of its proximal phalanx
    ring_colour: Floats = field(default_factory=lambda: np.array([0.8, 0.6, 0.25]))
    polish: bool = False
    tone: float = 0.0  # 0 the palest, 1 the darkest
    seed: float = 0.0

    @property
    def skin(self) -> str:
        """light, medium or dark: thirds of the Fitzpatrick-like scale."""
        return ("light", "medium", "dark")[min(2, int(self.tone * 3))]


@dataclass
class Light:
    """Key light and fill light (directions towards the light, linear colours) and ambient by SH (9, 3)."""

    key: Floats
    key_colour: Floats
    fill: Floats
    fill_colour: Floats
    ambient: Floats
    exposure: float = 1.0
    softness: float = 1.5


@dataclass
class Table:
    """A table top: a plane z = 0 of the world, seen only from above."""

    colour: Floats
    other: Floats
    grain: float  # contrast of the grain, 0 plain
    scale: Floats  # grain frequency (2,)
    gloss: float


METALS = np.array([[0.8, 0.6, 0.25], [0.75, 0.75, 0.78], [0.7, 0.4, 0.3], [0.08, 0.08, 0.09]])


def random_look(rng: np.random.Generator, textures: Sequence[tuple[int, float, float]] = ()) -> Look:
    """A random person's skin, over the whole range of human tones, and what they wear.

    Args:
        textures: those of the painter that fit the mesh: number, palest and darkest tone that each suits.
    """
    tone = rng.uniform(0, len(TONES) - 1)
    low = int(min(tone, len(TONES) - 2))
    srgb = TONES[low] + (TONES[low + 1] - TONES[low]) * (tone - low)
    srgb = np.clip(srgb * (1 + rng.normal(0, 0.05)) + rng.normal(0, 0.015, 3), 0.04, 0.97)
    back = srgb**2.2
    dark = tone / (len(TONES) - 1)
    # Palms hold little melanin: on dark skin they are much lighter than the back of the hand.
    light = (TONES[1] * (1 - 0.25 * dark)) ** 2.2
    palm = back + (light - back) * (0.15 + 0.45 * dark * rng.uniform(0.6, 1.2))
    palm = palm * np.array([1.06, 0.97, 0.95])
    nail = (0.55 * back + 0.45 * light) * np.array([1.05, 0.95, 0.97]) * rng.uniform(0.9, 1.2)
    polish = rng.random() < 0.1
    if polish:
        nail = rng.uniform(0.01, 0.8, 3)
    look = Look(back, palm, nail, polish=bool(polish), tone=float(dark), seed=float(rng.uniform(0, 100)))
    fitting = [number for number, low, high in textures if low <= dark <= high]
    look.texture = int(rng.choice(fitting)) if fitting and rng.random() < 0.9 else -1
    look.contrast = float(rng.uniform(0.7, 1.8))
    look.gloss = float(rng.uniform(0.03, 0.35))
    if rng.random() < 0.55:
        look.sleeve = float(rng.choice([rng.uniform(0.004, 0.05), rng.uniform(0.05, 0.2)]))
        grey = rng.uniform(0, 1) ** 2  # most clothes are dull, many are black
        look.cloth = grey + (rng.uniform(0, 1, 3) ** 2.2 * rng.uniform(0.1, 1) - grey) * rng.uniform(0, 1)
        look.pattern = int(rng.choice(5, p=[0.55, 0.15, 0.1, 0.12, 0.08]))
        look.stripe = float(rng.uniform(30, 200))
        look.loose = float(rng.uniform(0.003, 0.016))
    if rng.random() < 0.2:
        look.band = float(rng.uniform(0.008, 0.05))
        look.band_width = float(rng.uniform(0.002, 0.011))
        look.band_colour = METALS[rng.integers(4)] if rng.random() < 0.4 else rng.uniform(0, 1, 3) ** 2.2
        look.watch = float(rng.uniform(0.011, 0.02)) if rng.random() < 0.6 else 0.0
    if rng.random() < 0.2:
        look.ring = float(rng.choice(5, p=[0.06, 0.18, 0.22, 0.44, 0.1]))
        look.ring_at = float(rng.uniform(0.45, 0.65))
        look.ring_colour = METALS[rng.integers(4)]
    return look


def random_light(rng: np.random.Generator, ambient: Floats | None = None, overhead: bool = False) -> Light:
    """Room light: a key and a fill light of any side, and an ambient from an environment map where given."""

    def direction() -> Floats:
        d = rng.normal(size=3)
        if overhead:
            d[2] = abs(d[2]) + 0.5
        return np.asarray(d / np.linalg.norm(d))

    warm = 1 + rng.normal(0, 0.1) * np.array([1, 0, -1])
    if ambient is None:
        ambient = np.zeros((9, 3))
        ambient[0] = rng.uniform(0.2, 0.9) * (1 + rng.normal(0, 0.08, 3))
        ambient[1:4] = rng.normal(0, 0.12, (3, 1)) * (1 + rng.normal(0, 0.2, (3, 3)))
    return Light(
        direction(), warm * rng.uniform(0.1, 1.5), direction(), (2 - warm) * rng.uniform(0, 0.5),
        ambient * rng.uniform(0.5, 1.3), float(np.exp(rng.normal(0.1, 0.3))), float(rng.uniform(0.5, 4)),
    )  # fmt: skip


def random_table(rng: np.random.Generator) -> Table:
    """Any table top: plain, wood or cloth."""
    colour = rng.uniform(0, 1) ** 2 * (1 + rng.normal(0, 0.12, 3))
    if rng.random() < 0.4:  # wood
        colour = np.array([0.45, 0.26, 0.13]) * rng.uniform(0.15, 1.5) * (1 + rng.normal(0, 0.08, 3))
    elif rng.random() < 0.3:  # cloth of any colour
        colour = rng.uniform(0, 1, 3) ** 2.2
    colour = np.clip(colour, 0.004, 0.95)
    return Table(
        colour, np.clip(colour * rng.uniform(0.4, 1.6), 0, 1), float(rng.choice([0, rng.uniform(0.2, 1)])),
        np.exp(rng.uniform(0, 5, 2)), float(rng.uniform(0, 0.4)),
    )  # fmt: skip


VERTEX = """
#version 330
uniform mat4 view_projection; uniform mat4 light_matrix;
in vec3 position; in vec3 normal; in vec2 uv; in vec4 traits; in float finger;
out vec3 p; out vec3 n; out vec2 t; out vec4 q; out vec3 s; out float r;
void main() {
  p = position; n = normal; t = uv; q = traits; r = finger;
  s = (light_matrix * vec4(position, 1)).xyz * 0.5 + 0.5;
  gl_Position = view_projection * vec4(position, 1);
}
"""
COMMON = """
#version 330
in vec3 p; in vec3 n; in vec2 t; in vec4 q; in vec3 s; in float r;
out vec4 colour;
uniform sampler2D shadow_map; uniform vec3 eye; uniform float softness; uniform float exposure;
uniform vec3 up;
uniform vec3 key; uniform vec3 key_colour; uniform vec3 fill; uniform vec3 fill_colour; uniform vec3 sh[9];
float hash(vec2 x) { return fract(sin(dot(x, vec2(127.1, 311.7))) * 43758.5453); }
float noise(vec2 x) {
  vec2 i = floor(x), f = fract(x); f = f * f * (3. - 2. * f);
  return mix(mix(hash(i), hash(i + vec2(1, 0)), f.x),
    mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x), f.y);
}
float lit() {
  if (s.x < 0. || s.x > 1. || s.y < 0. || s.y > 1.) return 1.;
  float sum = 0., step = softness / 512.;
  for (int i = -1; i <= 1; i++) for (int j = -1; j <= 1; j++)
    sum += texture(shadow_map, s.xy + vec2(i, j) * step).r + 0.006 < s.z ? 0. : 1.;
  return sum / 9.;
}
vec3 ambient(vec3 m) {
  return max(vec3(0), sh[0] + sh[1] * m.y + sh[2] * m.z + sh[3] * m.x + sh[4] * m.x * m.y + sh[5] * m.y * m.z
    + sh[6] * (3. * m.z * m.z - 1.) + sh[7] * m.x * m.z + sh[8] * (m.x * m.x - m.y * m.y));
}
vec3 shade(vec3 albedo, vec3 m, float gloss, float shine, vec3 bleed, float occlusion) {
  vec3 view = normalize(eye - p);
  float shadow = lit();
  vec3 wrap = bleed;
  vec3 k = max(vec3(0), (dot(m, key) + wrap) / (1. + wrap)) * mix(wrap * 0.3, vec3(1), shadow);
  vec3 f = max(vec3(0), (dot(m, fill) + wrap) / (1. + wrap));
  vec3 light = ambient(m) * occlusion + key_colour * k + fill_colour * f;
  float spec = pow(max(0., dot(m, normalize(key + view))), shine) * shadow * step(0., dot(m, key));
  float spec2 = pow(max(0., dot(m, normalize(fill + view))), shine) * step(0., dot(m, fill));
  float rim = pow(1. - max(0., dot(m, view)), 4.) * 0.4;
  return albedo * light
    + gloss * (key_colour * spec + fill_colour * spec2 + ambient(reflect(-view, m)) * rim);
}
vec3 film(vec3 c) {
  c *= exposure;
  return pow(clamp(c * (1. + c * 0.12) / (1. + c * 0.35), 0., 1.), vec3(1. / 2.2));
}
"""
SKIN = (
    COMMON
    + """
uniform sampler2D skin; uniform int textured; uniform vec3 mean_back; uniform vec3 mean_palm;
uniform vec3 mean_nail; uniform vec3 back; uniform vec3 palm; uniform vec3 nail; uniform float polish;
uniform float contrast; uniform float gloss; uniform float sleeve; uniform vec3 cloth; uniform int pattern;
uniform float stripe; uniform float band; uniform float band_width; uniform float watch;
uniform vec3 band_colour; uniform float ring; uniform float ring_at; uniform vec3 ring_colour;
uniform float fade;
uniform float seed; uniform float flip;
vec3 sleeve_colour() {
  float weave = 0.75 + 0.3 * noise(t * 900. + seed) + 0.25 * noise(p.xz * 60. + seed);
  float a = step(0.3, sin(q.w * stripe * 6.28)), b = step(0.3, sin((p.x + p.y - p.z) * stripe * 6.28));
  float other = pattern == 1 ? a : pattern == 2 ? b : pattern == 3 ? 0.5 * (a + b)
    : pattern == 4 ? step(0.72, noise(p.xy * stripe * 8. + p.zz * stripe * 5.)) : 0.;
  vec3 second = fract(cloth + vec3(0.35, 0.5, 0.25) * fract(seed));
  float hem = smoothstep(0., 0.004, q.w - sleeve) * 0.4 + 0.6;  // the edge's own shade
  return mix(cloth, second, other) * weave * hem;
}
void main() {
  vec3 m = normalize(n) * flip;
  vec3 view = normalize(eye - p);
  if (dot(m, view) < 0.) m = normalize(m - view * dot(m, view) * 1.02);
  if (q.w > sleeve) {
    colour = vec4(film(shade(sleeve_colour(), m, 0.02, 8., vec3(0.1), 0.8)), 1); return;
  }
  float from_band = abs(q.w - band);
  if (q.w > 0.001 && from_band < watch && q.x < 0.25) {
    vec3 face = from_band < watch * 0.8 ? vec3(0.02, 0.02, 0.025) : band_colour;
    colour = vec4(film(shade(face, m, 0.9, 90., vec3(0.02), 0.9)), 1); return;
  }
  if (q.w > 0.001 && from_band < band_width) {
    colour = vec4(film(shade(band_colour, m, 0.5, 60., vec3(0.05), 0.9)), 1); return;
  }
  if (abs(r - ring) < 0.01 && abs(q.z - ring_at) < 0.045) {
    vec3 shape = m * (1. - 0.4 * abs(q.z - ring_at) / 0.045);
    colour = vec4(film(shade(ring_colour, shape, 1.6, 40., vec3(0.02), 0.9)), 1); return;
  }
  float mottle = noise(t * 160. + seed) * 0.5 + noise(t * 420. + seed) * 0.3 + noise(t * 60. - seed) * 0.4;
  float inner = q.x * mix(1., 0.3, smoothstep(0., 0.03, q.w));  // the forearm's inside is not so pale
  vec3 tone = mix(back, palm, inner);
  // Fingertips and knuckles are redder than the rest.
  float knuckle = exp(-pow((fract(q.z + 0.5) - 0.5) * 6., 2.)) * step(-0.5, q.z) * (1. - q.x);
  tone *= vec3(1.) + (0.10 * knuckle + 0.12 * smoothstep(2.2, 3., q.z)) * vec3(0.6, -0.6, -0.5);
  float height = 0.;
  if (textured == 1) {
    vec3 mean = mix(mix(mean_back, mean_palm, inner), mean_nail, q.y);
    vec3 ratio = mix(pow(texture(skin, t).rgb, vec3(2.2)) / mean, vec3(1.), fade * smoothstep(0., 0.02, q.w));
    height = dot(ratio, vec3(0.33));
    tone *= pow(clamp(ratio, 0.15, 3.), vec3(contrast));
    tone = mix(tone, nail * mix(1., height, 0.5), q.y * mix(0.6, 0.97, polish));
  } else {
    float lines = 0.;
    if (q.z > -0.5) {
      float d = abs(fract(q.z + 0.5) - 0.5);
      float wave = (noise(t * 300. + seed) - 0.5) * 0.03;
      lines = q.x > 0.5 ? exp(-pow((d + wave) * 28., 2.))
        : 0.6 * exp(-pow((mod(d + wave, 0.05) - 0.02) * 90., 2.)) * step(d, 0.13);
    } else {
      lines = q.x > 0.6 ? smoothstep(0.42, 0.5, noise(t * 34. + seed))
        * (1. - smoothstep(0.5, 0.58, noise(t * 34. + seed))) : 0.;
    }
    height = 1. - lines * 0.5;
    tone *= (0.75 + 0.42 * mottle) * (1. - 0.4 * lines * contrast);
    tone = mix(tone, nail, q.y);
    tone *= 1. - 0.35 * smoothstep(0.25, 0.5, q.y) * (1. - smoothstep(0.5, 0.75, q.y));
  }
  // Relief from brightness: creases are darker and lower.
  vec3 dx = dFdx(p), dy = dFdy(p);
  float hx = dFdx(height + mottle * 0.15), hy = dFdy(height + mottle * 0.15);
  vec3 r1 = cross(dy, m), r2 = cross(m, dx);
  float det = dot(dx, r1);
  vec3 grad = sign(det) * (hx * r1 + hy * r2) * 0.0011 * contrast;
  if (abs(det) > 1e-12) m = normalize(abs(det) * m - clamp(grad, -abs(det) * 0.7, abs(det) * 0.7));
  float shine = mix(22., 70., q.y);
  vec3 c = shade(clamp(tone, 0.002, 0.95), m, gloss * (0.7 + 0.6 * mottle) * mix(1., 1.8, q.y), shine,
    vec3(0.32, 0.16, 0.1), 0.75 + 0.25 * dot(m, up));
  colour = vec4(film(c), 1);
}
"""
)
TABLE = (
    COMMON
    + """
uniform vec3 table; uniform vec3 other; uniform float grain; uniform vec2 scale; uniform float table_gloss;
void main() {
  float g = noise(p.xy * scale + 7.) * 0.6 + noise(p.xy * scale * 3.1) * 0.3
    + noise(p.xy * scale * 11.) * 0.2;
  vec3 c = mix(table, other, clamp(g * grain, 0., 1.));
  // The hand's nearness dims the ambient light below it: a contact shadow.
  colour = vec4(film(shade(c, vec3(0, 0, 1), table_gloss, 20., vec3(0.02), q.x)), 1);
}
"""
)
THING = (
    COMMON
    + """
uniform vec3 colour_a; uniform vec3 colour_b; uniform float stripes; uniform float gloss;
void main() {
  vec3 m = normalize(n);
  if (dot(m, eye - p) < 0.) m = -m;
  float other = stripes > 0. ? step(0.2, sin((t.x + t.y * 2.) * stripes * 6.28)) : 0.;
  vec3 c = mix(colour_a, colour_b, other) * (0.85 + 0.3 * noise(t * 40.));
  colour = vec4(film(shade(c, m, gloss, 40., vec3(0.03), 0.8)), 1);
}
"""
)
DEPTH = "#version 330\nvoid main() {}\n"


def hdri_ambient(image: NDArray[np.float32]) -> Floats:
    """Diffuse light (9, 3) of an environment map (H, W, 3), scaled to a mean of about 0.6, z up.

    Second-order spherical harmonics after Ramamoorthi & Hanrahan 2001; the constants of the basis are
    folded in, so that the shader only sums.
    """
    small = cv2.resize(image, (64, 32), interpolation=cv2.INTER_AREA)
    theta = (np.arange(32) + 0.5) / 32 * np.pi
    phi = (np.arange(64) + 0.5) / 64 * 2 * np.pi
    x = np.sin(theta)[:, None] * np.cos(phi)
    y = np.sin(theta)[:, None] * np.sin(phi)
    z = np.cos(theta)[:, None] * np.ones_like(phi)
    area = np.sin(theta)[:, None] * np.ones_like(phi) * (np.pi / 32) * (2 * np.pi / 64)
    basis = [
        np.full_like(x, 0.282095), 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
        1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
    ]  # fmt: skip
    cosine = [1.0] + [2 / 3] * 3 + [1 / 4] * 5
    constant = [0.282095] + [0.488603] * 3 + [1.092548, 1.092548, 0.315392, 1.092548, 0.546274]
    sh = np.array(
        [
            (b[..., None] * small * area[..., None]).sum((0, 1)) * c * k
            for b, c, k in zip(basis, cosine, constant, strict=True)
        ]
    )
    return np.asarray(sh / max(sh[0].mean(), 1e-6) * 0.6)


def hdri_view(
    image: NDArray[np.float32], rotation: Floats, fov: float, size: tuple[int, int]
) -> NDArray[np.float32]:
    """What a camera (rotation (3, 3) world to camera, fov in radians across the width) sees of the map."""
    width, height = size
    f = width / 2 / np.tan(fov / 2)
    u, v = np.meshgrid((np.arange(width) - width / 2) / f, (np.arange(height) - height / 2) / f)
    d = np.stack([u, v, np.ones_like(u)], -1) @ rotation
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    h, w = image.shape[:2]
    px = (np.arctan2(d[..., 1], d[..., 0]) % (2 * np.pi)) / (2 * np.pi) * w
    py = np.arccos(np.clip(d[..., 2], -1, 1)) / np.pi * h
    return np.asarray(
        cv2.remap(
            image, px.astype(np.float32), py.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
    )


class Painter:
    """Draws scenes into pictures of one size. One per process; holds the GL context."""

    def __init__(self, width: int, height: int, skins: Path | None = None, godot: Path | None = None) -> None:
        import moderngl

        try:
            self.gl = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
        except Exception as error:  # moderngl raises bare Exception when the library is missing
            raise TrainError(
                "No OpenGL without a screen here: install Mesa's EGL (Debian: apt install libegl1 "
                f"libegl1-mesa libgl1-mesa-dri libgl1). {error}"
            ) from error
        self.width, self.height = width, height
        self.skin = self.gl.program(VERTEX, SKIN)
        self.table = self.gl.program(VERTEX, TABLE)
        self.thing = self.gl.program(VERTEX, THING)
        self.depth = self.gl.program(
            "#version 330\nuniform mat4 light_matrix; in vec3 position;\n"
            "void main() { gl_Position = light_matrix * vec4(position, 1); }",
            DEPTH,
        )
        samples = min(4, self.gl.max_samples)
        self.multi = self.gl.framebuffer(
            [self.gl.renderbuffer((width, height), 4, samples=samples)],
            self.gl.depth_renderbuffer((width, height), samples=samples),
        )
        self.flat = self.gl.simple_framebuffer((width, height), 4)
        self.shadow = self.gl.depth_texture((SHADOW, SHADOW))
        self.shadow.compare_func = ""
        self.shadow_target = self.gl.framebuffer(depth_attachment=self.shadow)
        self.textures: list[Any] = []
        self.pixels: list[NDArray[Any]] = []
        # Textures that fit each mesh: number, palest and darkest tone that each suits.
        self.of_mesh: dict[str, list[tuple[int, float, float]]] = {"anny": [], "godot": []}
        for file in sorted(skins.glob("*.[jp][pn]g")) if skins else []:
            self.of_mesh["anny"].append((self._load(file, 2048), 0.0, 1.0))
        for file in godot_skins(godot) if godot else []:
            tones = (0.5, 1.0) if file.name.startswith("african") else (0.0, 0.65)
            self.of_mesh["godot"].append((self._load(file, 1024), *tones))

    def _load(self, file: Path, side: int) -> int:
        image = cv2.imread(str(file))
        if image is None:
            raise TrainError(f"{file} is not a picture: remove it from the folder of skins.")
        if image.shape[:2] != (side, side):
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        image = np.ascontiguousarray(image[::-1, :, ::-1])
        texture = self.gl.texture((side, side), 3, image.tobytes())
        texture.build_mipmaps()
        self.textures.append(texture)
        self.pixels.append(image)
        return len(self.textures) - 1

    def _means(self, texture: int, arm: Arm) -> dict[str, Floats]:
        """Median linear colours (3,) of the texture on this arm's back, palm and nails. Of this arm's: values
        kept from the first arm that a process drew would make pictures depend on the number of workers."""
        pixels = self.pixels[texture]
        traits = arm.traits[arm.corner]
        px = np.clip((arm.uv * len(pixels)).astype(int), 0, len(pixels) - 1)
        hand = (traits[:, 3] < 0.02) & (traits[:, 1] < 0.1)
        parts = {
            "mean_back": hand & (traits[:, 0] < 0.3),
            "mean_palm": hand & (traits[:, 0] > 0.8),
            "mean_nail": traits[:, 1] > 0.9,
        }
        found: dict[str, Floats] = {}
        for name, part in parts.items():
            part = part if part.any() else hand
            colours = pixels[px[part, 1], px[part, 0]] / 255.0
            found[name] = np.asarray(np.maximum(np.median(colours**2.2, axis=0), 1e-3))
        return found

    def _surface(self, arm: Arm, look: Look, mirrored: bool) -> dict[str, Any]:
        """The skin shader's uniforms."""
        names = ("back", "palm", "nail", "contrast", "gloss", "sleeve", "cloth", "pattern", "stripe", "band",
                 "band_width", "watch", "band_colour", "ring", "ring_at", "ring_colour", "seed")  # fmt: skip
        own = {name: getattr(look, name) for name in names}
        if look.texture >= 0:
            own |= self._means(look.texture, arm)
            if arm.mesh == "godot":  # its texture has the palms' own tone
                lighter = np.clip(own["mean_palm"] / own["mean_back"], 1, 4)
                own |= {"palm": np.clip(own["back"] * lighter, 0, 0.8), "contrast": 0.55 * look.contrast}
        return {
            **own,
            "skin": 1,
            "textured": int(look.texture >= 0),
            "polish": float(look.polish),
            "fade": float(arm.mesh == "godot"),  # its texture has no forearm
            "flip": -1.0 if mirrored else 1.0,
        }

    def paint(
        self,
        arms: list[tuple[Arm, Floats, Look, bool]],
        light: Light,
        cameras: list[tuple[Floats, Floats]],
        table: Table | None = None,
        up: Floats | None = None,
        things: Sequence[Thing] = (),
    ) -> list[NDArray[np.uint8]]:
        """One scene seen by several cameras.

        Args:
            arms: (arm, vertices (V, 3) in world metres, look, mirrored: the vertices were mirrored).
            cameras: (K (3, 3), M (4, 4) world to camera) each. things: what is held or lies about.

        Returns:
            per camera uint8 RGBA (H, W, 4); alpha is what was drawn.
        """
        gl = self.gl
        centre = np.mean([v.mean(0) for _, v, _, _ in arms], axis=0)
        radius = max(np.linalg.norm(v - centre, axis=1).max() for _, v, _, _ in arms) + 0.01
        light_matrix = _orthographic(centre, light.key, radius)
        up = np.array([0.0, 0, 1]) if up is None else up
        uniforms = {
            "light_matrix": light_matrix,
            "softness": light.softness,
            "exposure": light.exposure,
            "key": light.key,
            "key_colour": light.key_colour,
            "fill": light.fill,
            "fill_colour": light.fill_colour,
            "sh": light.ambient,
            "up": up,
        }
        draws = []
        for arm, vertices, look, mirrored in arms:
            normals = vertex_normals(vertices, arm.triangles)
            # A mirrored arm's triangles run the other way round: its normals point inwards, see `flip`.
            outwards = -normals if mirrored else normals
            cloth = np.clip((arm.traits[:, 3] - look.sleeve) * 200, 0, 1) * look.loose
            shown = vertices + outwards * cloth[:, None]
            data = np.hstack([shown[arm.corner], normals[arm.corner], arm.uv, arm.traits[arm.corner]]).astype(
                "f4"
            )
            buffer = gl.buffer(data.tobytes())
            indices = gl.buffer(arm.corners.astype("i4").tobytes())
            draws.append((self._surface(arm, look, mirrored), look.texture, buffer, indices))
        self.shadow_target.use()
        self.shadow_target.clear()
        gl.enable(gl.DEPTH_TEST)
        _set(self.depth, {"light_matrix": light_matrix})
        for _, _, buffer, indices in draws:
            vao = gl.vertex_array(self.depth, [(buffer, "3f 10x4", "position")], indices)
            vao.render()
            vao.release()
        objects = [(thing, gl.buffer(thing.mesh.astype("f4").tobytes())) for thing in things]
        for _, buffer in objects:
            vao = gl.vertex_array(self.depth, [(buffer, "3f 5x4", "position")])
            vao.render()
            vao.release()
        pictures = []
        table_buffer = None
        if table is not None:
            table_buffer = gl.buffer(_table_mesh(arms, centre).tobytes())
        for k, m in cameras:
            eye = -m[:3, :3].T @ m[:3, 3]
            view = {
                **uniforms,
                "view_projection": _projection(k, self.width, self.height) @ m,
                "eye": eye,
                "shadow_map": 0,
            }
            self.multi.use()
            self.multi.clear(0, 0, 0, 0, depth=1.0)
            self.shadow.use(0)
            for surface, texture, buffer, indices in draws:
                if texture >= 0:
                    self.textures[texture].use(1)
                _set(self.skin, {**view, **surface})
                vao = gl.vertex_array(
                    self.skin,
                    [(buffer, "3f 3f 2f 4f 1f", "position", "normal", "uv", "traits", "finger")],
                    indices,
                )
                vao.render()
                vao.release()
            for thing, buffer in objects:
                _set(self.thing, {**view, "colour_a": thing.colour, "colour_b": thing.other,
                                  "stripes": thing.stripes, "gloss": thing.gloss})  # fmt: skip
                vao = gl.vertex_array(self.thing, [(buffer, "3f 3f 2f", "position", "normal", "uv")])
                vao.render()
                vao.release()
            if table is not None and eye[2] > 0:
                _set(self.table, {**view, "table": table.colour, "other": table.other, "grain": table.grain,
                                  "scale": table.scale, "table_gloss": table.gloss})  # fmt: skip
                vao = gl.vertex_array(self.table, [(table_buffer, "3f 5x4 4f", "position", "traits")])
                vao.render()
                vao.release()
            gl.copy_framebuffer(self.flat, self.multi)
            raw = np.frombuffer(self.flat.read(components=4), dtype=np.uint8)
            pictures.append(raw.reshape(self.height, self.width, 4)[::-1].copy())
        for _, _, buffer, indices in draws:
            buffer.release()
            indices.release()
        for _, buffer in objects:
            buffer.release()
        if table_buffer is not None:
            table_buffer.release()
        return pictures


def _set(program: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in program:
            continue
        if isinstance(value, (int, float)):
            program[name].value = value
        elif value.shape == (4, 4):
            program[name].write(np.ascontiguousarray(value.T, dtype="f4").tobytes())
        else:
            program[name].write(np.ascontiguousarray(value, dtype="f4").tobytes())


def _projection(k: Floats, width: int, height: int) -> Floats:
    """Intrinsics K (pixels, y down, z forward) to OpenGL clip space (y up, picture flipped on reading)."""
    near, far = 0.02, 20.0
    return np.array(
        [
            [2 * k[0, 0] / width, 0, 2 * k[0, 2] / width - 1, 0],
            [0, -2 * k[1, 1] / height, 1 - 2 * k[1, 2] / height, 0],
            [0, 0, (far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, 1, 0],
        ]
    )


def _orthographic(centre: Floats, towards: Floats, radius: float) -> Floats:
    z = -towards
    x = np.cross([0.0, 0, 1] if abs(z[2]) < 0.9 else [1.0, 0, 0], z)
    x /= np.linalg.norm(x)
    r = np.stack([x, np.cross(z, x), z]) / radius
    matrix = np.eye(4)
    matrix[:3, :3] = r
    matrix[:3, 3] = -r @ centre
    return matrix


def _table_mesh(arms: list[tuple[Arm, Floats, Look, bool]], centre: Floats) -> NDArray[np.float32]:
    """Triangles of the table: fine near the hands, where each vertex knows how much of the sky it sees."""
    fine = np.linspace(-0.2, 0.2, 41)
    low = np.concatenate([v[v[:, 2] < 0.06][::3] for _, v, _, _ in arms])
    xs, ys = fine + centre[0], fine + centre[1]
    gx, gy = np.meshgrid(xs, ys)
    open_sky = np.ones(gx.shape)
    if len(low):
        d2 = (gx[..., None] - low[:, 0]) ** 2 + (gy[..., None] - low[:, 1]) ** 2 + (low[:, 2] + 0.004) ** 2
        open_sky = 1 - 0.75 * np.clip((1.2e-4 / d2).sum(-1) / 8, 0, 1)
    flat = []
    edge_x = np.concatenate([[centre[0] - 1.2], xs, [centre[0] + 1.2]])
    edge_y = np.concatenate([[centre[1] - 0.9], ys, [centre[1] + 0.9]])
    sky = np.pad(open_sky, 1, constant_values=1.0)
    for i in range(len(edge_y) - 1):
        y0, y1 = edge_y[i], edge_y[i + 1]
        quads = np.zeros((len(edge_x) - 1, 6, 12), np.float32)
        x0, x1 = edge_x[:-1], edge_x[1:]
        for n, (xx, yy, ss) in enumerate(
            [(x0, y0, sky[i, :-1]), (x1, y0, sky[i, 1:]), (x1, y1, sky[i + 1, 1:]),
             (x0, y0, sky[i, :-1]), (x1, y1, sky[i + 1, 1:]), (x0, y1, sky[i + 1, :-1])]
        ):  # fmt: skip
            quads[:, n, 0], quads[:, n, 1], quads[:, n, 5], quads[:, n, 8] = xx, yy, 1, ss
        flat.append(quads.reshape(-1, 12))
    return np.concatenate(flat)
