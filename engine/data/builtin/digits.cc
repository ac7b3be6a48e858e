#include "engine/data/builtin/digits.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/portable_math.h"
#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int kSide = 28;
constexpr int kPixels = kSide * kSide;
constexpr int64_t kMostImages = int64_t{1} << 22;

struct Point {
  double x, y;
};
using Stroke = std::vector<Point>;  // a smooth curve through these points
using Style = std::vector<Stroke>;  // one way to write a digit, in a unit box, y downwards

// Corners are where one stroke ends and the next begins.
const std::array<std::vector<Style>, 10>& Alphabet() {
  static const std::array<std::vector<Style>, 10> kAlphabet = {{
      // 0: an oval, closed or with its ends crossing
      {{{{.5, 0},
         {.87, .17},
         {1, .5},
         {.87, .83},
         {.5, 1},
         {.13, .83},
         {0, .5},
         {.13, .17},
         {.5, 0}}},
       {{{.7, .04},
         {.35, .03},
         {.06, .35},
         {.08, .78},
         {.45, 1},
         {.86, .82},
         {.96, .4},
         {.66, .03},
         {.4, .1}}}},
      // 1: a stroke; with a flag; with a flag and a foot
      {{{{.5, 0}, {.5, 1}}},
       {{{.22, .24}, {.55, 0}}, {{.55, 0}, {.55, 1}}},
       {{{.25, .2}, {.52, 0}}, {{.52, 0}, {.52, 1}}, {{.22, 1}, {.84, 1}}}},
      // 2: with a corner; with a loop at the foot
      {{{{.05, .26}, {.2, .06}, {.52, 0}, {.86, .12}, {.87, .36}, {.55, .68}, {.05, 1}},
        {{.05, 1}, {.97, 1}}},
       {{{.08, .2},
         {.4, 0},
         {.82, .1},
         {.82, .38},
         {.5, .74},
         {.16, .97},
         {.06, .86},
         {.24, .77},
         {.55, .92},
         {.98, .95}}}},
      // 3: two bows; a flat top
      {{{{.08, .12}, {.45, 0}, {.85, .12}, {.8, .36}, {.4, .47}},
        {{.4, .47}, {.82, .55}, {.95, .77}, {.55, 1}, {.04, .88}}},
       {{{.1, 0}, {.88, 0}},
        {{.88, 0}, {.42, .4}},
        {{.42, .4}, {.85, .5}, {.93, .78}, {.55, 1}, {.05, .9}}}},
      // 4: open; closed
      {{{{.18, 0}, {.06, .55}}, {{.06, .55}, {.95, .52}}, {{.74, .05}, {.68, 1}}},
       {{{.68, 0}, {.04, .66}}, {{.04, .66}, {.98, .66}}, {{.68, 0}, {.68, 1}}}},
      // 5: with corners; in one rounded go
      {{{{.92, 0}, {.2, .01}},
        {{.2, .01}, {.13, .45}},
        {{.13, .45}, {.5, .36}, {.9, .5}, {.92, .8}, {.5, 1}, {.04, .9}}},
       {{{.9, .03},
         {.45, .02},
         {.2, .14},
         {.16, .38},
         {.5, .42},
         {.87, .58},
         {.82, .87},
         {.42, 1},
         {.06, .92}}}},
      // 6: a curl; a straight back
      {{{{.82, .02},
         {.4, .2},
         {.08, .56},
         {.12, .88},
         {.47, 1},
         {.86, .87},
         {.84, .6},
         {.5, .5},
         {.12, .72}}},
       {{{.62, 0},
         {.3, .36},
         {.06, .72},
         {.26, .98},
         {.66, .98},
         {.9, .76},
         {.68, .56},
         {.3, .6},
         {.1, .8}}}},
      // 7: plain; with a bar; with a hook
      {{{{.04, .02}, {.95, 0}}, {{.95, 0}, {.6, .5}, {.4, 1}}},
       {{{.06, 0}, {.94, .02}}, {{.94, .02}, {.6, .5}, {.38, 1}}, {{.28, .52}, {.86, .48}}},
       {{{.04, .18}, {.1, .02}}, {{.1, .02}, {.95, .03}}, {{.95, .03}, {.62, .4}, {.5, 1}}}},
      // 8: two loops; one crossing line
      {{{{.5, .47},
         {.16, .3},
         {.2, .07},
         {.5, 0},
         {.8, .07},
         {.84, .3},
         {.5, .47},
         {.07, .7},
         {.14, .94},
         {.5, 1},
         {.86, .94},
         {.93, .7},
         {.5, .47}}},
       {{{.86, .14},
         {.52, 0},
         {.16, .14},
         {.28, .4},
         {.74, .62},
         {.86, .87},
         {.5, 1},
         {.12, .87},
         {.25, .6},
         {.7, .4},
         {.86, .14}}}},
      // 9: a straight leg; a curved leg
      {{{{.88, .22}, {.6, .02}, {.18, .1}, {.1, .38}, {.45, .52}, {.84, .36}, {.9, .08}},
        {{.9, .08}, {.84, .55}, {.76, 1}}},
       {{{.86, .12}, {.48, 0}, {.12, .2}, {.2, .46}, {.56, .48}, {.86, .2}},
        {{.86, .12}, {.9, .6}, {.68, .94}, {.18, .97}}}},
  }};
  return kAlphabet;
}

// A smooth displacement of the plane: random vectors on a coarse grid over the image, joined by
// cubic smoothsteps.
class Warp {
 public:
  Warp(Random& random, double sd) {
    for (Point& node : nodes_) node = {sd * random.Normal(), sd * random.Normal()};
  }
  Point operator()(Point p) const {
    const auto [column, tx] = CellOf(p.x);
    const auto [row, ty] = CellOf(p.y);
    const auto node = [&, column = column, row = row](int r, int c) {
      return nodes_[static_cast<size_t>((row + r) * kNodes + column + c)];
    };
    const auto mix = [](Point a, Point b, double t) {
      return Point{a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t};
    };
    const Point d = mix(mix(node(0, 0), node(0, 1), tx), mix(node(1, 0), node(1, 1), tx), ty);
    return {p.x + d.x, p.y + d.y};
  }

 private:
  static constexpr int kNodes = 4;

  static std::pair<int, double> CellOf(double pixel) {
    const double place = std::clamp(pixel / kSide, 0.0, 1.0) * (kNodes - 1);
    const int cell = std::min(static_cast<int>(place), kNodes - 2);
    const double t = place - cell;
    return {cell, t * t * (3.0 - 2.0 * t)};
  }

  std::array<Point, kNodes * kNodes> nodes_{};
};

// Squared distances from every pixel to the nearest ink line drawn so far, as far as `reach`.
class Canvas {
 public:
  explicit Canvas(double reach) : reach_(reach) {
    distance2_.fill(std::numeric_limits<float>::max());
  }

  void Line(Point a, Point b) {
    const int left = Clip(std::min(a.x, b.x) - reach_), right = Clip(std::max(a.x, b.x) + reach_);
    const int top = Clip(std::min(a.y, b.y) - reach_), bottom = Clip(std::max(a.y, b.y) + reach_);
    const double dx = b.x - a.x, dy = b.y - a.y;
    const double length2 = dx * dx + dy * dy;
    const double inverse = length2 > 0.0 ? 1.0 / length2 : 0.0;
    for (int row = top; row <= bottom; ++row) {
      for (int column = left; column <= right; ++column) {
        const double px = column - a.x, py = row - a.y;
        const double t = std::clamp((px * dx + py * dy) * inverse, 0.0, 1.0);
        const double ex = px - t * dx, ey = py - t * dy;
        float& best = distance2_[static_cast<size_t>(row * kSide + column)];
        best = std::min(best, static_cast<float>(ex * ex + ey * ey));
      }
    }
  }

  double Distance(int pixel) const {
    return std::sqrt(static_cast<double>(distance2_[static_cast<size_t>(pixel)]));
  }

 private:
  // The nearest pixel inside the image; pixel centres are at whole numbers.
  static int Clip(double place) {
    return static_cast<int>(std::clamp(portable::Round(place), 0.0, kSide - 1.0));
  }

  double reach_;
  std::array<float, kPixels> distance2_;
};

// The Catmull-Rom spline through b and c, whose neighbours are a and d, at t in [0, 1].
Point Spline(Point a, Point b, Point c, Point d, double t) {
  const auto along = [t](double p, double q, double r, double s) {
    const double linear = r - p;
    const double square = 2.0 * p - 5.0 * q + 4.0 * r - s;
    const double cube = 3.0 * (q - r) + s - p;
    return q + 0.5 * t * (linear + t * (square + t * cube));
  };
  return {along(a.x, b.x, c.x, d.x), along(a.y, b.y, c.y, d.y)};
}

// One writer's hand for one digit: where the unit box of a style lands in the image.
class Handwriting {
 public:
  explicit Handwriting(Random& random) : warp_(random, /*sd=*/0.9) {
    const double turn = 0.024 * random.Normal();  // of a full circle: 9 degrees
    const double slant = 0.05 + 0.18 * random.Normal();
    height_ = 18.5 + 1.6 * random.Normal();
    width_ = height_ * (0.62 + 0.10 * random.Normal());
    height_ = std::clamp(height_, 13.0, 23.0);
    width_ = std::clamp(width_, 6.5, 18.0);
    const portable::SinCos angle = portable::Turn(std::clamp(turn, -0.06, 0.06));
    sin_ = angle.sin;
    cos_ = angle.cos;
    slant_ = std::clamp(slant, -0.35, 0.45);
    centre_ = {13.5 + 1.1 * random.Normal(), 13.5 + 1.1 * random.Normal()};
  }

  Point ToImage(Point p) const {
    const double y = (p.y - 0.5) * height_;
    const double x = (p.x - 0.5) * width_ - slant_ * y;
    return warp_({centre_.x + cos_ * x - sin_ * y, centre_.y + sin_ * x + cos_ * y});
  }

 private:
  Warp warp_;
  double height_ = 0.0, width_ = 0.0, sin_ = 0.0, cos_ = 1.0, slant_ = 0.0;
  Point centre_{};
};

void DrawStroke(const Stroke& stroke, const Handwriting& hand, double jitter, Random& random,
                Canvas& canvas) {
  constexpr int kPieces = 5;  // lines per span: about a pixel each where it bends
  std::array<Point, 16> points{};
  const size_t n = stroke.size();
  for (size_t i = 0; i < n; ++i) {
    points[i] = {stroke[i].x + jitter * random.Normal(), stroke[i].y + jitter * random.Normal()};
  }
  Point from = hand.ToImage(points[0]);
  for (size_t i = 0; i + 1 < n; ++i) {
    const Point& before = points[i == 0 ? 0 : i - 1];
    const Point& after = points[std::min(i + 2, n - 1)];
    for (int piece = 1; piece <= kPieces; ++piece) {
      const double t = static_cast<double>(piece) / kPieces;
      const Point to = hand.ToImage(Spline(before, points[i], points[i + 1], after, t));
      canvas.Line(from, to);
      from = to;
    }
  }
}

void DrawDigit(size_t digit, Random& random, uint8_t* pixels) {
  const std::vector<Style>& styles = Alphabet()[digit];
  const Style& style = styles[static_cast<size_t>(random.Below(styles.size()))];
  const Handwriting hand(random);
  const double radius = 0.75 + 0.95 * random.Uniform();  // half the width of the stroke
  const double soft = 0.9 + 0.8 * random.Uniform();      // pixels from full ink to none
  const double ink = 205.0 + 50.0 * random.Uniform();
  const double jitter = 0.035;

  Canvas canvas(radius + 0.5 * soft);  // no ink beyond
  for (const Stroke& stroke : style) DrawStroke(stroke, hand, jitter, random, canvas);

  const double noise = 24.0 * random.Uniform() / 128.0;
  uint32_t word = 0;
  for (int i = 0; i < kPixels; ++i, word >>= 8) {
    if (i % 4 == 0) word = random.Word();
    const double coverage = std::clamp((radius - canvas.Distance(i)) / soft + 0.5, 0.0, 1.0);
    const double grain = noise * (static_cast<int>(word & 0xFF) - 128);
    pixels[i] =
        static_cast<uint8_t>(std::clamp(portable::Round(ink * coverage + grain), 0.0, 255.0));
  }
}

Result<std::shared_ptr<const InMemoryDataset>> Draw(uint64_t seed, const std::string& part,
                                                    int64_t size, ByteScale byte_scale) {
  const std::string name = "digits (" + part + ")";
  if (size < 1 || size > kMostImages) {
    return Status::Invalid(name + ": the number of images must be 1 to " +
                           std::to_string(kMostImages) + ", not " + std::to_string(size));
  }
  std::vector<uint8_t> pixels(static_cast<size_t>(size) * kPixels);
  std::vector<int32_t> labels(static_cast<size_t>(size));
  for (size_t i = 0; i < labels.size(); ++i) {
    Random random(seed, StreamOf(name) + i);
    labels[i] = static_cast<int32_t>(random.Below(10));
    DrawDigit(static_cast<size_t>(labels[i]), random, pixels.data() + i * kPixels);
  }
  DatasetInfo info{.name = name, .size = size, .x_shape = {kSide, kSide, 1}, .classes = 10};
  for (int digit = 0; digit < 10; ++digit) info.class_names.push_back(std::to_string(digit));
  return InMemoryDataset::Make(std::move(info), std::move(pixels), std::move(labels), byte_scale);
}

}  // namespace

Result<DigitsData> MakeDigits(const DigitsOptions& options) {
  DigitsData data;
  LOCKSTEP_TRY_ASSIGN(data.train,
                      Draw(options.seed, "training", options.train, options.byte_scale));
  LOCKSTEP_TRY_ASSIGN(data.test, Draw(options.seed, "test", options.test, options.byte_scale));
  return data;
}

}  // namespace lockstep
