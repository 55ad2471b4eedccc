// conv_transpose2/col2im: every input pixel times all weights, one product whose columns are (tap, output); then each output
// is the sum of the columns that fall on it. The product is as wide as the kernel is large, so that few outputs and large
// strides cost nothing; columns stay in L2, tile by tile.
#include <cstring>

#include "routines/conv_transpose2/tiles.h"
#include "spi/estimate.h"
#include "ukernels/kinds/col2im_f32.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {
namespace {

// Outputs [rest, end) of a position along x that the same taps reach, each the tap behind that of the output before.
struct Span {
  int64_t rest, end;
  size_t first, last;  // of taps_x
};

std::vector<Span> spans(const std::vector<TransposedAxis::Tap>& taps, int64_t stride) {
  std::vector<Span> found;
  int64_t covered = 0;
  for (size_t i = 0; i < taps.size();) {
    size_t next = i;
    while (next < taps.size() && taps[next].rest == taps[i].rest) ++next;
    const int64_t rest = taps[i].rest;
    if (rest > covered) found.push_back({covered, rest, i, i});  // reached by nothing
    bool follows = !found.empty() && found.back().end == rest && found.back().last - found.back().first == next - i;
    for (size_t k = i; follows && k < next; ++k) {
      const TransposedAxis::Tap& before = taps[found.back().first + k - i];
      follows = before.distance == taps[k].distance && before.k + rest - found.back().rest == taps[k].k;
    }
    if (follows) found.back().end = rest + 1;
    else found.push_back({rest, rest + 1, i, next});
    covered = rest + 1;
    i = next;
  }
  if (covered < stride) found.push_back({covered, stride, taps.size(), taps.size()});
  return found;
}

// The outputs of a group that one product makes.
struct ChannelBlock {
  int64_t group, first, channels, columns;  // `columns` of the product, whole panels
  std::shared_ptr<const Buffer> weights;
  Buffer bias;  // repeated along a line
};

class Col2imKernel : public PieceKernel {
 public:
  Col2imKernel(const Problem& p, Layout in, Layout out, const std::string& micro_kernel, int64_t chunk,
               const Constants& constants)
      : g_(lying(TransposedGeometry(p))), in_(in), out_(out), add_(p.epilogue.add), act_(*epilogue_activation(p)),
        gemm_(gemm_kernel(micro_kernel)), sum_(best_ukernel<Col2imF32>(PW_KIND_COL2IM_F32, act_.act)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), rows_(g_.rows()), columns_(g_.columns()),
        chunk_(chunk), taps_y_(g_.rows().taps()), taps_x_(g_.columns().taps()), spans_(spans(taps_x_, g_.stride_x)),
        tiling_(best_tiling({g_, rows_, columns_, p.threads, gemm_.rows, gemm_.columns, copies()})) {
    const float* bias = bias_of(p, constants);
    const int64_t outputs = g_.outputs / g_.groups;
    for (int64_t group = 0; group < g_.groups; ++group)
      for (int64_t first = 0; first < outputs; first += tiling_.channels) {
        ChannelBlock b{group, first, std::min(tiling_.channels, outputs - first), 0, nullptr, {}};
        pack(b, constants[1], bias ? bias + group * outputs + first : nullptr);
        blocks_.push_back(std::move(b));
      }
    place();
    areas_.threads = p.threads;
  }

  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const ChannelBlock& b : blocks_) bytes += b.weights->bytes() + b.bias.bytes();
    return bytes;
  }
  Memory reads_first(int64_t, uint32_t index, uint32_t count) const override {
    const auto first = Team::own_first(pieces(), index, count);
    return first ? blocks_[static_cast<size_t>(*first / (g_.images * tiling_.tiles()))].weights->memory() : Memory{};
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const Values v{static_cast<const float*>(in[0]), add_ ? static_cast<const float*>(in[1]) : nullptr,
                   static_cast<float*>(out[0])};
    char* own = areas_.own<char>(workspace, team);
    team.each(pieces(), 1, [&](int64_t index, int64_t) {
      const int64_t tile = index % tiling_.tiles(), image = index / tiling_.tiles() % g_.images;
      piece(v, blocks_[static_cast<size_t>(index / tiling_.tiles() / g_.images)], image, tile, own);
    });
  }

 private:
  static constexpr int64_t kSlack = 16;       // floats that a vector may reach beyond a run
  static constexpr int64_t kLines = 1 << 12;  // floats of outputs that are brought into planes at once

  struct Values {
    const float *x, *residual;
    float* y;
  };

  // Inputs and outputs of a tile.
  struct Tile {
    int64_t image, top, bottom, left, right;      // inputs
    int64_t first_y, last_y, first_x, last_x, q;  // outputs, and the first position along x
    int64_t width() const { return right - left; }
    int64_t pixels() const { return bottom > top && right > left ? (bottom - top) * width() : 0; }
    int64_t line() const { return last_x - first_x; }
  };

  int64_t depth() const { return g_.inputs / g_.groups; }
  int64_t pieces() const { return static_cast<int64_t>(blocks_.size()) * g_.images * tiling_.tiles(); }
  // Rows of A lie in x where a pixel's channels are one run.
  bool copies() const { return in_ == Layout::nchw && g_.inputs > 1; }
  // Outputs are summed where they belong when those of a block lie side by side there.
  bool in_place(const ChannelBlock& b) const { return b.channels == (out_ == Layout::nhwc ? g_.outputs : 1); }

  // Weights [C, O/groups, kh, kw]; columns in the order (tap, output).
  void pack(ChannelBlock& b, const Constant& constant, const float* bias) const {
    const auto* w = constant.as<float>();
    const int64_t taps = g_.kernel_height * g_.kernel_width, outputs = g_.outputs / g_.groups;
    const int64_t first_row = b.group * depth(), columns = taps * b.channels;
    std::string key = "conv_transpose2/col2im";
    for (int64_t n : {b.group, b.first, b.channels, g_.inputs, g_.groups, outputs, taps}) key += "/" + std::to_string(n);
    b.columns = round_up(columns, gemm_.columns);
    b.weights = pack_panels(constant.id, key, depth(), columns, gemm_.columns, [&](int64_t row, int64_t column) {
      return w[((first_row + row) * outputs + b.first + column % b.channels) * taps + column / b.channels];
    });
    const int64_t longest = std::min(g_.stride_x, g_.out_width) * b.channels;
    b.bias = Buffer(static_cast<size_t>(longest + kSlack) * 4);
    for (int64_t i = 0; i < longest + kSlack; ++i) b.bias.as<float>()[i] = bias ? bias[i % b.channels] : 0.0f;
  }

  // Where a thread's memory lies in its area.
  void place() {
    int64_t at = 0;
    auto take = [&](int64_t bytes) {
      const int64_t here = at;
      at += round_up(bytes, 64);
      return here;
    };
    int64_t widest = 0, most = 0;
    for (const ChannelBlock& b : blocks_) {
      widest = std::max(widest, b.columns);
      if (!in_place(b)) most = std::max(most, b.channels);
    }
    // Rows a cache line more than a power of two apart.
    step_ = widest + 16;
    row_ = round_up(depth(), 16) + 16;
    const int64_t line = std::min(tiling_.columns * g_.stride_x, g_.out_width);
    lines_ = most ? std::max<int64_t>(1, kLines / (line * most)) : 1;
    columns_at_ = take((tiling_.pixels * step_ + kSlack) * 4);
    copy_at_ = take(copies() ? tiling_.pixels * row_ * 4 : 0);
    line_at_ = take((lines_ * line * most + kSlack) * 4);
    residual_at_ = take((add_ ? line * most + kSlack : 0) * 4);
    pointers_at_ = take(gemm_.rows * 8);
    sources_at_ = take(static_cast<int64_t>(taps_y_.size() * taps_x_.size()) * 8);
    segments_at_ = take(static_cast<int64_t>(spans_.size() * sizeof(Col2imSegment)));
    areas_.bytes = at;
  }

  Tile tile_of(int64_t image, int64_t index) const {
    const int64_t p = rows_.first + index / tiling_.column_tiles * tiling_.rows;
    const int64_t q = columns_.first + index % tiling_.column_tiles * tiling_.columns;
    const int64_t last_p = std::min(rows_.last, p + tiling_.rows), last_q = std::min(columns_.last, q + tiling_.columns);
    Tile t{};
    t.image = image, t.q = q;
    std::tie(t.top, t.bottom) = rows_.inputs(p, last_p);
    std::tie(t.left, t.right) = columns_.inputs(q, last_q);
    t.first_y = std::max<int64_t>(0, p * g_.stride_y - g_.pad_top);
    t.last_y = std::min(g_.out_height, last_p * g_.stride_y - g_.pad_top);
    t.first_x = std::max<int64_t>(0, q * g_.stride_x - g_.pad_left);
    t.last_x = std::min(g_.out_width, last_q * g_.stride_x - g_.pad_left);
    return t;
  }

  void piece(const Values& v, const ChannelBlock& b, int64_t image, int64_t index, char* own) const {
    const Tile t = tile_of(image, index);
    if (t.pixels()) multiply(v.x, b, t, own);
    auto* lines = reinterpret_cast<float*>(own + line_at_);
    int64_t held = 0;  // lines that wait to be brought into planes; they lie one behind the other in each plane
    for (int64_t y = t.first_y; y < t.last_y; ++y) {
      const int64_t at = (image * g_.out_height + y) * g_.out_width + t.first_x;  // of a plane, or in pixels
      if (in_place(b)) {
        const int64_t to = out_ == Layout::nhwc ? at * g_.outputs : at + (image * (g_.outputs - 1) + output(b)) * plane();
        sum_line(b, t, y, v.residual ? v.residual + to : nullptr, v.y + to, own);
        continue;
      }
      const float* residual = v.residual ? gather(v.residual, b, t, y, own) : nullptr;
      sum_line(b, t, y, residual, lines + held * t.line() * b.channels, own);
      ++held;
      const bool more = t.line() == g_.out_width && held < lines_ && y + 1 < t.last_y;
      if (more) continue;
      scatter(lines, b, t, y + 1 - held, held, v.y);
      held = 0;
    }
  }

  int64_t plane() const { return g_.out_height * g_.out_width; }
  int64_t output(const ChannelBlock& b) const { return b.group * (g_.outputs / g_.groups) + b.first; }
  // The first output of a block in line y of a tile.
  int64_t place_of(const ChannelBlock& b, const Tile& t, int64_t y) const {
    const int64_t at = y * g_.out_width + t.first_x;
    return out_ == Layout::nhwc ? (t.image * plane() + at) * g_.outputs + output(b)
                                : (t.image * g_.outputs + output(b)) * plane() + at;
  }
  // Outputs that were summed apart to where they belong.
  void scatter(const float* lines, const ChannelBlock& b, const Tile& t, int64_t y, int64_t count, float* to) const {
    const int64_t pixels = count * t.line();
    to += place_of(b, t, y);
    if (out_ == Layout::nchw) return transpose_.run(lines, b.channels, to, plane(), pixels, b.channels);
    for (int64_t i = 0; i < pixels; ++i, lines += b.channels, to += g_.outputs) copy(to, lines, b.channels);
  }
  // The residual of a line, as its outputs are summed.
  const float* gather(const float* from, const ChannelBlock& b, const Tile& t, int64_t y, char* own) const {
    auto* line = reinterpret_cast<float*>(own + residual_at_);
    from += place_of(b, t, y);
    if (out_ == Layout::nchw) transpose_.run(from, plane(), line, b.channels, b.channels, t.line());
    else
      for (int64_t i = 0; i < t.line(); ++i) copy(line + i * b.channels, from + i * g_.outputs, b.channels);
    return line;
  }
  // Short: a loop that the compiler turns into vectors beats a call.
  static void copy(float* to, const float* from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }

  // All columns of a tile's inputs.
  void multiply(const float* x, const ChannelBlock& b, const Tile& t, char* own) const {
    const int64_t pixels = t.pixels(), inputs = g_.inputs, width = t.width();
    const float* rows = x + ((t.image * g_.height + t.top) * g_.width + t.left) * inputs + b.group * depth();
    int64_t row = inputs, line = g_.width * inputs;  // floats between pixels, and between lines
    if (copies()) {
      auto* copy = reinterpret_cast<float*>(own + copy_at_);
      const float* from = x + (t.image * inputs + b.group * depth()) * g_.height * g_.width + t.top * g_.width + t.left;
      const int64_t lines = width == g_.width ? 1 : t.bottom - t.top, run = pixels / lines;  // what lies in one run
      for (int64_t i = 0; i < lines; ++i)
        transpose_.run(from + i * g_.width, g_.height * g_.width, copy + i * run * row_, row_, depth(), run);
      rows = copy, row = row_, line = width * row_;
    }
    const auto** pointers = reinterpret_cast<const float**>(own + pointers_at_);
    const int64_t tiles = divide_up(pixels, gemm_.rows);
    const EvenParts parts(pixels, tiles);
    const int64_t panel = depth() * gemm_.columns;
    // All rows pass over one panel's part of the depth in L1, or over as many panels as take a quarter of L2.
    const int64_t fit = chunk_ < depth() ? 1 : std::max<int64_t>(1, static_cast<int64_t>(cpu().l2) / 4 / (panel * 4));
    const int64_t block = fit * gemm_.columns;
    GemmF32Args args{};
    args.a = pointers;
    args.taps = 1;
    args.b_panel = panel;
    args.c_row = step_;
    args.c_group = 16;
    args.act = kNoActivation;
    for (int64_t column = 0; column < b.columns; column += block)
      for (int64_t k = 0; k < depth(); k += chunk_)
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const auto [first, count] = parts[tile];
          point(rows + k, row, line, width, first, count, pointers);
          args.b = b.weights->as<float>() + column / gemm_.columns * panel + k * gemm_.columns;
          args.c = reinterpret_cast<float*>(own + columns_at_) + first * step_ + column;
          args.depth = std::min(chunk_, depth() - k);
          args.rows = count;
          args.columns = std::min(block, b.columns - column);
          args.first = k == 0;
          args.last = k + chunk_ >= depth();
          gemm_.run(&args);
        }
  }

  void point(const float* rows, int64_t row, int64_t line, int64_t width, int64_t first, int64_t count,
             const float** to) const {
    int64_t y = first / width, x = first % width;
    for (int64_t i = 0; i < gemm_.rows; ++i) {
      if (i >= count) {
        to[i] = to[count - 1];
        continue;
      }
      to[i] = rows + y * line + x * row;
      if (++x == width) x = 0, ++y;
    }
  }

  // The outputs of line y within a tile: neighbouring positions that the same taps reach together, the others one by one.
  void sum_line(const ChannelBlock& b, const Tile& t, int64_t y, const float* residual, float* to, char* own) const {
    const int64_t left = t.q * g_.stride_x - g_.pad_left;  // of the first position, which may begin outside
    const auto rows = taps_of(taps_y_, g_.rows().rest(y));
    Col2imArgs args{};
    args.bias = b.bias.as<float>();
    args.step = step_;
    args.y_step = g_.stride_x * b.channels;
    args.act = act_;
    const int64_t whole = (t.last_x - left) / g_.stride_x + t.q;  // positions before that end inside of the tile
    for (int64_t q = t.q, x = left; x < t.last_x; q += args.pixels, x += args.pixels * g_.stride_x) {
      const bool all = q >= columns_.reach && x >= t.first_x;
      args.pixels = all ? std::max<int64_t>(1, std::min(whole, columns_.in) - q) : 1;
      const int64_t from = std::max(t.first_x, x), end = args.pixels > 1 ? x + g_.stride_x : std::min(t.last_x, x + g_.stride_x);
      segments(b, t, rows, y, q, from - x, end - x, args, own);
      const int64_t at = (from - t.first_x) * b.channels;
      args.y = to + at;
      args.residual = residual ? residual + at : nullptr;
      args.room = t.line() * b.channels - at;
      sum_.run(&args);
    }
  }

  // Those of outputs [first, last) of position q.
  template <class Taps>
  void segments(const ChannelBlock& b, const Tile& t, const Taps& rows, int64_t y, int64_t q, int64_t first, int64_t last,
                Col2imArgs& args, char* own) const {
    const auto* columns = reinterpret_cast<const float*>(own + columns_at_);
    auto** sources = reinterpret_cast<const float**>(own + sources_at_);
    auto* segment = reinterpret_cast<Col2imSegment*>(own + segments_at_);
    args.segments = segment;
    args.segment_count = 0;
    const int64_t base = g_.rows().base(y);
    for (const Span& s : spans_) {
      const int64_t from = std::max(first, s.rest), end = std::min(last, s.end);
      if (from >= end) continue;
      *segment = {sources, 0, (from - first) * b.channels, (end - from) * b.channels};
      for (auto ky = rows.first; ky != rows.second; ++ky) {
        const int64_t iy = base - ky->distance;
        if (iy < 0 || iy >= g_.height) continue;
        const auto [left, right] = inside(s, q);
        for (size_t i = left; i < right; ++i) {
          const int64_t ix = q - taps_x_[i].distance;
          const int64_t tap = ky->k * g_.kernel_width + taps_x_[i].k + from - s.rest;
          sources[segment->count++] = columns + ((iy - t.top) * t.width() + ix - t.left) * step_ + tap * b.channels;
        }
      }
      sources += segment->count;
      ++segment, ++args.segment_count;
    }
  }

  // Those taps of a span that read a column of the image at position q: their distances grow.
  std::pair<size_t, size_t> inside(const Span& s, int64_t q) const {
    const auto first = taps_x_.begin() + static_cast<ptrdiff_t>(s.first), last = taps_x_.begin() + static_cast<ptrdiff_t>(s.last);
    const auto nearer = [](const TransposedAxis::Tap& tap, int64_t distance) { return tap.distance < distance; };
    const auto left = std::lower_bound(first, last, q - g_.width + 1, nearer), right = std::lower_bound(left, last, q + 1, nearer);
    return {static_cast<size_t>(left - taps_x_.begin()), static_cast<size_t>(right - taps_x_.begin())};
  }

  TransposedGeometry g_;
  Layout in_, out_;
  bool add_;
  ActArgs act_;
  const GemmF32& gemm_;
  const Col2imF32& sum_;
  const TransposeF32& transpose_;
  Positions rows_, columns_;
  int64_t chunk_;  // of the depth, per pass
  std::vector<TransposedAxis::Tap> taps_y_, taps_x_;
  std::vector<Span> spans_;
  Tiling tiling_;
  std::vector<ChannelBlock> blocks_;
  int64_t step_ = 0, row_ = 0;  // floats from one pixel's columns, or copy, to the next
  int64_t lines_ = 1;
  int64_t columns_at_ = 0, copy_at_ = 0, line_at_ = 0, residual_at_ = 0, pointers_at_ = 0, sources_at_ = 0, segments_at_ = 0;
  ThreadAreas areas_;
};

class Col2im : public ConvolutionRoutine, public Estimating {
 public:
  Col2im(const char* id, Layout in, Layout out) : ConvolutionRoutine(id, in, out) { applying_ = PW_KIND_COL2IM_F32; }
  Verdict suits(const Problem&, const Geometry&) const override {
    if (gemm_variants(Layout::nhwc).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  // Those first whose tiles the columns fill best. Long sums also in passes, whose rows of the weights stay in L1.
  std::vector<std::string> variants(const Problem& p) const override {
    const TransposedGeometry g(p);
    const int64_t columns = g.outputs / g.groups * g.kernel_height * g.kernel_width;
    std::vector<std::string> names;
    for (const auto& kernel : by_filling(gemm_variants(Layout::nhwc), g.height * g.width, columns)) {
      names.push_back(kernel);
      if (g.inputs / g.groups > kChunk) names.push_back(kernel + "/k" + std::to_string(kChunk));
    }
    return names;
  }
  // Before conv_transpose2/gemm where that would fill its tiles with padding. Where a group has one input there is no product,
  // only sums: conv_transpose2/planar and depthwise come first.
  Ports ports(const Problem& p) const override {
    Ports ports = ConvolutionRoutine::ports(p);
    const TransposedGeometry g = lying(TransposedGeometry(p));
    const bool apart = g.groups == g.inputs;
    const TilingCost cost{g, Positions(g.rows()), Positions(g.columns()), p.threads, 12, 16, in_ == Layout::nchw};
    const int64_t inputs = g.images * g.height * g.width * g.inputs, taps = g.kernel_height * g.kernel_width;
    const double phases = static_cast<double>(inputs * taps) * static_cast<double>(round_up(g.outputs / g.groups, 16)) /
                          static_cast<double>(p.threads);
    const bool better = !g.few_phases() || (!apart && cost(best_tiling(cost)) < phases);
    ports.order = better ? -1 : 1;
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.5);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    // VARIANT = micro-kernel[/kCHUNK]
    const size_t slash = variant.find('/');
    const int64_t chunk = slash == std::string::npos ? p.in[0].shape[1] : std::stoll(variant.substr(slash + 2));
    return std::make_unique<Col2imKernel>(p, in_, out_, variant.substr(0, slash), chunk, c);
  }

 private:
  static constexpr int64_t kChunk = 256;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Col2im>("conv_transpose2/col2im:f32:nhwc:cpu", Layout::nhwc, Layout::nhwc);
  // In the caller's own layout, which signals and last layers keep.
  c.add<Col2im>("conv_transpose2/col2im:f32:nchw:cpu", Layout::nchw, Layout::nchw);
  c.add<Col2im>("conv_transpose2/col2im:f32:nchw-nhwc:cpu", Layout::nchw, Layout::nhwc);
  c.add<Col2im>("conv_transpose2/col2im:f32:nhwc-nchw:cpu", Layout::nhwc, Layout::nchw);
}
}  // namespace PW_COLLECT
}  // namespace pw
