#include "products/half.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "values/bfloat.h"

namespace pw {

Estimate half_estimate(const Geometry& g, const HalfForms& forms, bool in_place, bool values) {
  constexpr double kInner = 0.5;           // of the peak
  constexpr double kStored = 40;           // operations that an output takes beside,
  constexpr double kSplit = 8, kCopied = 4;  // and bringing a number of x to the unit
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  const double products = forms.parts == 3 ? 6 : forms.parts == 2 ? 3 : 1;
  const int64_t rows = round_up(g.images * g.out_pixels(), kHalfRows), columns = round_up(g.group_outputs(), kHalfColumns);
  const int64_t depth = round_up(g.group_inputs() * g.taps(), kHalfDepth), part = 2 * forms.parts;
  Estimate e;
  e.unit = forms.part;
  e.add(products * 2 * number(rows) * number(columns) * number(depth) * number(g.groups), kInner);
  e.work += kStored * number(rows * g.outputs);
  e.constants = values ? 0 : number(columns * depth * g.groups * part);
  if (!in_place) {
    const double x = number(g.images * g.inputs) * number(g.in_pixels());
    e.work += x * (forms.in == DType::f32 ? kSplit * forms.parts : kCopied);
    e.move(2 * x * number(part), std::min(x * number(part), number(static_cast<int64_t>(cpu().l2)) / 2));
  }
  if (values) {
    const double b = number(columns * depth * g.images);
    e.work += b * kSplit * forms.parts;
    e.move(2 * b * number(part), b * number(part));
    e.phases = 2;
  }
  return e;
}

const char* half_kind(DType part) { return part == DType::f16 ? PW_KIND_GEMM_F16 : PW_KIND_GEMM_BF16; }

std::vector<std::string> half_variants(DType part, int parts, Act act) {
  std::vector<std::string> names;
  for (const auto& [name, body] : ukernels_of<GemmHalf>(half_kind(part), true, act))
    if (body->parts >= parts) names.push_back(name);
  return names;
}

const GemmHalf& half_kernel(DType part, const std::string& name) {
  if (const auto* body = ukernel<GemmHalf>(half_kind(part), name)) return *body;
  throw Error("micro-kernel '" + name + "' is not available on this machine");
}

namespace {

// n elements in equal runs, each of them one row of a tile.
struct Runs {
  int64_t chunks, depth;
  int64_t padded() const { return chunks * depth; }
  // As few as there can be; the last ones are filled with zeros.
  static Runs padding(int64_t n) {
    const int64_t chunks = divide_up(n, kHalfDepth);
    return {chunks, round_up(divide_up(n, chunks), 2)};
  }
  // Runs that divide n. {0, 0}: there are none but much shorter ones.
  static Runs dividing(int64_t n) {
    for (int64_t chunks = divide_up(n, kHalfDepth); 4 * chunks <= 5 * divide_up(n, kHalfDepth); ++chunks)
      if (n % (2 * chunks) == 0) return {chunks, n / chunks};
    return {0, 0};
  }
};

// Distances in the copy of a block of output rows, in pixels and bytes. Strides are taken out of it: pixels that are
// `stride` apart lie side by side, one plane per remainder, so that every tap walks with the same step; the walk runs on
// over the ends of rows, and what it computes there (pitch - width positions a row) is not stored.
struct Copy {
  int64_t phases_y = 1, phases_x = 1;  // planes
  int64_t reach_y = 0, reach_x = 0;    // pixels of a plane beyond the output's rows and columns
  int64_t pitch = 0;                   // pixels of a row
  int64_t run = 0;                     // elements of a pixel that are copied together: channels, or a kernel row of them
  int64_t pixel = 0;                   // bytes of a pixel, all parts
  int64_t rows(int64_t out_rows) const { return out_rows + reach_y; }
  int64_t plane(int64_t out_rows) const { return rows(out_rows) * pitch * pixel; }
  int64_t bytes(int64_t out_rows) const { return phases_y * phases_x * plane(out_rows); }
};

// n bytes, an even number. Runs of a few channels are so short that a call would take longer than the copy.
template <class Word>
inline void copy_word(char* to, const char* from) noexcept {
  Word word;
  std::memcpy(&word, from, sizeof word);
  std::memcpy(to, &word, sizeof word);
}
inline void copy_run(char* to, const char* from, int64_t n) noexcept {
  if (n > 64) {
    std::memcpy(to, from, static_cast<size_t>(n));
  } else if (n >= 8) {
    for (int64_t i = 0; i + 8 < n; i += 8) copy_word<uint64_t>(to + i, from + i);
    copy_word<uint64_t>(to + n - 8, from + n - 8);
  } else {
    for (int64_t i = 0; i < n; i += 2) copy_word<uint16_t>(to + i, from + i);
  }
}
inline void clear_run(char* to, int64_t n) noexcept {
  if (n > 16) {
    std::memset(to, 0, static_cast<size_t>(n));
  } else {
    for (int64_t i = 0; i < n; i += 2) std::memset(to + i, 0, 2);
  }
}

class HalfConvolution : public Kernel {
 public:
  HalfConvolution(const HalfProblem& p, const HalfScheme& scheme, const GemmHalf& kernel)
      : g_(p.g), scheme_(scheme), kernel_(kernel), part_(p.forms.part), parts_(p.forms.parts),
        splits_(p.forms.in == DType::f32), add_(p.add), threads_(p.threads), batch_(p.batch),
        convert_(p.g.group_inputs(), p.forms.parts, p.forms.part) {
    const Geometry& g = g_;
    const HalfForms& forms = p.forms;
    taps_ = scheme.merged ? g.kernel_height : g.taps();
    const int64_t run = scheme.merged ? g.kernel_width * g.group_inputs() : g.group_inputs();
    runs_ = scheme.in_place ? Runs::dividing(run) : Runs::padding(run);
    panels_ = divide_up(g.group_outputs(), kHalfColumns);
    if (!scheme.in_place) plan_copy(run);
    plan_blocks();
    product_bytes_ = taps_ * runs_.chunks * parts_ * 2 * runs_.depth * 32;
    panel_bytes_ = product_bytes_ + (part_ == DType::f16 ? kHalfColumns * 4 : 0);
    if (batch_.b.empty()) pack(p.weights, run);
    else packed_at_run_ = round_up(batch_.b_matrices * panels_ * panel_bytes_, 64);
    for (int64_t group = 0; group < g.groups; ++group)
      bias_.push_back(pack_bias(p.bias ? p.bias + group * g.group_outputs() : nullptr, g.group_outputs(), kHalfColumns));

    args_.offsets = nullptr;
    args_.a_row = scheme.in_place ? g.inputs * 2 * parts_ : copy_.pixel;
    args_.a_part = scheme.in_place ? g.inputs * 2 : runs_.padded() * 2;
    args_.taps = taps_;
    args_.chunks = runs_.chunks;
    args_.depth = static_cast<int32_t>(runs_.depth);
    args_.parts = static_cast<int32_t>(parts_);
    args_.b_panel = panel_bytes_;
    args_.form = forms.out == DType::f32 ? StoredF32::f32
                 : forms.out == DType::bf16x2 ? StoredF32::bf16x2 : StoredF32::half;
    element_ = forms.out == DType::f32 ? 4 : 2;
    const int64_t bytes = g.outputs * static_cast<int64_t>(size_of(forms.out));  // of a pixel of y
    args_.c_row = (p.step ? p.step : 1) * bytes;
    args_.c_line = (p.line ? p.line : g.out_width) * bytes;
    image_bytes_ = (p.image ? p.image : g.out_pixels()) * bytes;
    first_ = p.first * bytes;
    args_.c_lo = g.outputs * 2;
    args_.pitch = scheme.in_place ? g.width : copy_.pitch;
    args_.width = g.out_width;
    args_.act = p.act;
  }

  size_t workspace_bytes() const override {
    const int64_t buffers = scheme_.in_place ? 0 : scheme_.by_column ? 2 : threads_;
    return static_cast<size_t>(packed_at_run_ + buffers * area() + threads_ * (offset_bytes() + row_bytes()));
  }
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const auto& b : weights_) bytes += b->bytes();
    return bytes;
  }
  Memory reads_first(int64_t, uint32_t, uint32_t) const override { return batch_.b.empty() ? weights_[0]->memory() : Memory{}; }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    char* own = static_cast<char*>(workspace) + packed_at_run_;
    const auto* residual = static_cast<const char*>(add_ ? in[batch_.b.empty() ? 1 : 2] : nullptr);
    const Call call{static_cast<const char*>(in[0]), residual, static_cast<char*>(out[0]),
                    own + threads_ * (offset_bytes() + row_bytes()),
                    own + threads_ * offset_bytes() + team.index * row_bytes(), static_cast<const char*>(workspace)};
    auto* offsets = reinterpret_cast<int64_t*>(own + team.index * offset_bytes());
    if (packed_at_run_) {
      team.each(batch_.b_matrices * panels_, 1, [&](int64_t i, int64_t) {
        pack_values(in[1], i, reinterpret_cast<uint16_t*>(static_cast<char*>(workspace) + i * panel_bytes_));
      });
      team.barrier();
    }
    Shape open{};
    if (scheme_.by_column) run_columns(call, offsets, open, team);
    else run_blocks(call, offsets, open, team);
    if (open.rows) kernel_.close();
  }

 private:
  struct Call {
    const char *x, *residual;
    char *y, *copies;
    char* row;  // this thread's row of x in parts, where x is f32
    const char* panels;  // of b, where it is a value
  };
  // What the calling thread's tiles are open for.
  struct Shape {
    int64_t rows;
  };
  // Rows [y, y + rows) of an image's output, for one group.
  struct Block {
    int64_t image, group, y, rows;
  };

  void plan_copy(int64_t run) {
    const int64_t last_y = (g_.kernel_height - 1) * g_.dilation_y;
    const int64_t last_x = scheme_.merged ? 0 : (g_.kernel_width - 1) * g_.dilation_x;
    copy_.phases_y = std::min(g_.stride_y, last_y + 1);
    copy_.phases_x = std::min(scheme_.merged ? 1 : g_.stride_x, last_x + 1);
    copy_.reach_y = last_y / g_.stride_y;
    copy_.reach_x = last_x / g_.stride_x;
    copy_.pitch = g_.out_width + copy_.reach_x;
    copy_.run = run;
    copy_.pixel = runs_.padded() * 2 * parts_;
    // Sixteen rows of a tile that lie a power of two apart would meet in few sets of the first cache.
    if (copy_.pixel % 1024 == 0) copy_.pixel += 64;
  }

  void plan_blocks() {
    const int64_t units = g_.images * g_.groups;
    if (scheme_.in_place) {
      block_rows_ = g_.out_height;
    } else {
      // The copy of a block stays in half of L2, and where threads share blocks each gets several.
      const int64_t fit = static_cast<int64_t>(cpu().l2) / 2;
      int64_t rows = g_.out_height;
      if (!scheme_.by_column && threads_ > 1) rows = divide_up(rows, divide_up(4 * threads_, units));
      while (rows > 1 && copy_.bytes(rows) > fit) rows = divide_up(rows, 2);
      block_rows_ = rows;
    }
    blocks_y_ = divide_up(g_.out_height, block_rows_);
  }

  // See kinds/gemm_half.h.
  void pack(const HalfWeights& weights, int64_t run) {
    for (int64_t group = 0; group < g_.groups; ++group) {
      const auto* w = weights.constant.as<float>() + group * weights.group_step;
      const std::string key = std::string(text(part_)) + "/" + std::to_string(group) + "/" + std::to_string(parts_) + "/" +
                              std::to_string(runs_.depth) + "/" + std::to_string(scheme_.merged) + weights.name;
      weights_.push_back(shared_packing(weights.constant.id, key, [&] {
        Buffer packed(static_cast<size_t>(panels_ * panel_bytes_));
        std::memset(packed.as<char>(), 0, packed.bytes());
        parallel_for(panels_ * kHalfColumns, [&](int64_t begin, int64_t end) {
          std::vector<float> floats(static_cast<size_t>(taps_ * run));
          std::vector<uint16_t> halves(static_cast<size_t>(run * parts_));
          for (int64_t n = begin; n < std::min(end, g_.group_outputs()); ++n) {
            gather(weights, w + n * weights.output_step, run, floats.data());
            pack_output(floats.data(), run, n % kHalfColumns, packed.as<char>() + n / kHalfColumns * panel_bytes_,
                        halves.data());
          }
        });
        return packed;
      }));
    }
  }

  // All weights of an output, `run` of each tap.
  void gather(const HalfWeights& weights, const float* w, int64_t run, float* floats) const {
    const int64_t inputs = g_.group_inputs();
    for (int64_t tap = 0; tap < taps_; ++tap)
      for (int64_t k = 0; k < run; ++k) {
        // Merged: k counts (kx, channel) of kernel row `tap`.
        const int64_t channel = scheme_.merged ? k % inputs : k;
        const int64_t from = scheme_.merged ? tap * g_.kernel_width + k / inputs : tap;
        floats[tap * run + k] = w[channel * weights.input_step + weights.taps[static_cast<size_t>(from)]];
      }
  }

  // They go to one column of a panel. In f16 they are brought below 1/16 by a power of two: a run sums 16 products at most
  // in a lane, so that no sum leaves the range of f16 where x does not, and small ones keep their digits.
  void pack_output(float* floats, int64_t run, int64_t column, char* panel, uint16_t* halves) const {
    if (part_ == DType::f16) {
      const float scale = 16.0f * power_above(floats, taps_ * run);
      for (int64_t i = 0; i < taps_ * run; ++i) floats[i] /= scale;
      reinterpret_cast<float*>(panel + product_bytes_)[column] = scale;
    }
    const int64_t block = runs_.depth * 32;
    auto* b = reinterpret_cast<uint16_t*>(panel);
    for (int64_t tap = 0; tap < taps_; ++tap, b += runs_.chunks * parts_ * block) {
      convert_.split(floats + tap * run, halves, run, run);
      for (int64_t part = 0; part < parts_; ++part)
        for (int64_t k = 0; k < run; ++k) b[part * block + place(k, column)] = halves[part * run + k];
    }
  }

  // The least power of two, from 2^-100 to 2^120, above the finite ones of n magnitudes; 1 where all are zero.
  static float power_above(const float* x, int64_t n) {
    float most = 0.0f;
    for (int64_t i = 0; i < n; ++i)
      if (std::isfinite(x[i])) most = std::max(most, std::abs(x[i]));
    return most == 0.0f ? 1.0f : std::ldexp(1.0f, std::clamp(std::ilogb(most) + 1, -100, 120));
  }

  // Where element k of a tap's run and one of the 32 columns lies in a panel, first part.
  int64_t place(int64_t k, int64_t column) const {
    const int64_t depth = runs_.depth, r = k % depth;
    return k / depth * parts_ * depth * 32 + column / 16 * depth * 16 + r / 2 * 32 + column % 16 * 2 + r % 2;
  }

  // Panel `index`, counted through the matrices, of b as a value: rows of the last axis, in parts or in f32.
  void pack_values(const void* b, int64_t index, uint16_t* to) const noexcept {
    const int64_t outputs = g_.outputs, first = index % panels_ * kHalfColumns;
    const int64_t width = std::min<int64_t>(kHalfColumns, outputs - first), block = runs_.depth * 32;
    const int64_t row = index / panels_ * g_.inputs;
    std::memset(to, 0, static_cast<size_t>(panel_bytes_));
    if (part_ == DType::f16) std::fill_n(reinterpret_cast<float*>(to + product_bytes_ / 2), kHalfColumns, 1.0f);
    uint16_t own[3 * kHalfColumns];
    for (int64_t k = 0; k < g_.inputs; ++k) {
      const uint16_t* from = own;
      int64_t step = kHalfColumns;  // from one part to the next
      if (splits_) {
        convert_.split(static_cast<const float*>(b) + (row + k) * outputs + first, own, step, width);
      } else {
        from = static_cast<const uint16_t*>(b) + (row + k) * outputs * parts_ + first;
        step = outputs;
      }
      for (int64_t part = 0; part < parts_; ++part)
        for (int64_t j = 0; j < width; j += 16) {
          uint16_t* at = to + part * block + place(k, j);
          for (int64_t i = 0; i < std::min<int64_t>(16, width - j); ++i) at[2 * i] = from[part * step + j + i];
        }
    }
  }

  int64_t offset_bytes() const { return round_up(taps_ * 8, 64); }
  int64_t area() const { return round_up(copy_.bytes(block_rows_), 64); }

  // Positions from the first output to the last of a block, those between rows included.
  int64_t positions(int64_t rows) const { return (rows - 1) * args_.pitch + g_.out_width; }

  // Bytes from the first position of a block to what tap `t` reads there.
  void fill_offsets(int64_t rows, int64_t* offsets) const {
    for (int64_t t = 0; t < taps_; ++t) {
      const int64_t y = (scheme_.merged ? t : t / g_.kernel_width) * g_.dilation_y;
      const int64_t x = scheme_.merged ? 0 : t % g_.kernel_width * g_.dilation_x;
      if (scheme_.in_place) {
        offsets[t] = (y * g_.width + x) * args_.a_row;
      } else {
        const int64_t phase = y % g_.stride_y * copy_.phases_x + x % g_.stride_x;
        offsets[t] = phase * copy_.plane(rows) + (y / g_.stride_y * copy_.pitch + x / g_.stride_x) * copy_.pixel;
      }
    }
  }

  int64_t blocks() const { return g_.images * g_.groups * blocks_y_; }
  Block block_at(int64_t i) const {
    const auto [y, rows] = EvenParts(g_.out_height, blocks_y_)[i % blocks_y_];
    return {i / blocks_y_ / g_.groups, i / blocks_y_ % g_.groups, y, rows};
  }

  // Threads take blocks; without a copy they take parts of the walk and of the columns.
  void run_blocks(const Call& call, int64_t* offsets, Shape& open, Team& team) noexcept {
    if (!scheme_.in_place) {
      char* copy = call.copies + team.index * area();
      team.each(blocks(), 1, [&](int64_t i, int64_t) {
        const Block b = block_at(i);
        copy_rows(call, b, copy, 0, copy_.phases_y * copy_.rows(b.rows));
        multiply(call, b, copy, 0, divide_up(positions(b.rows), kHalfRows), 0, panels_, offsets, open);
      });
      return;
    }
    const int64_t tiles = divide_up(positions(g_.out_height), kHalfRows), pairs = divide_up(tiles, 2);
    const Blocking split = block(pairs, panels_, panel_bytes_, 2 * kHalfRows * args_.a_row, threads_);
    team.each(blocks() * split.count(), 1, [&](int64_t i, int64_t) {
      const Block b = block_at(i / split.count());
      const int64_t row = i % split.count() % split.row_blocks, column = i % split.count() / split.row_blocks;
      multiply(call, b, nullptr, row * split.row_tiles * 2, std::min(tiles, (row + 1) * split.row_tiles * 2),
               column * split.panels, std::min(panels_, (column + 1) * split.panels), offsets, open);
    });
  }

  // Block by block: all threads copy, then share the panels. The next copy goes to the other buffer, so that it may
  // begin while the slowest thread is still at the panels; its panels wait for that thread at the barrier.
  void run_columns(const Call& call, int64_t* offsets, Shape& open, Team& team) noexcept {
    for (int64_t i = 0; i < blocks(); ++i) {
      const Block b = block_at(i);
      char* copy = call.copies + i % 2 * area();
      const auto [first, last] = team.share(copy_.phases_y * copy_.rows(b.rows));
      copy_rows(call, b, copy, first, last);
      team.barrier();
      team.each(panels_, 1, [&](int64_t panel, int64_t) {
        multiply(call, b, copy, 0, divide_up(positions(b.rows), kHalfRows), panel, panel + 1, offsets, open);
      });
    }
  }

  void multiply(const Call& call, const Block& b, const char* copy, int64_t first_tile, int64_t last_tile,
                int64_t first_panel, int64_t last_panel, int64_t* offsets, Shape& open) noexcept {
    GemmHalfArgs args = args_;
    args.rows = positions(b.rows);
    args.tiles = divide_up(args.rows, kHalfRows);
    args.first = first_tile;
    args.last = last_tile;
    if (const int64_t rows = divide_up(args.rows, args.tiles); rows != open.rows) {
      kernel_.open(rows, args.depth);
      open.rows = rows;
    }
    fill_offsets(b.rows, offsets);
    args.offsets = offsets;
    args.a = scheme_.in_place
                 ? call.x + source_image(b) * g_.in_pixels() * args.a_row + b.group * g_.group_inputs() * 2
                 : copy;
    const int64_t start = first_ + b.image * image_bytes_ + b.y * args.c_line + b.group * g_.group_outputs() * element_;
    const auto group = static_cast<size_t>(b.group);
    const char* panels = batch_.b.empty() ? weights_[group]->as<char>()
                                          : call.panels + batch_.b[static_cast<size_t>(b.image)] * panels_ * panel_bytes_;
    // As many panels a call as stay in a quarter of L2 while the rows pass by; the copy of the rows may take half.
    const int64_t fit = std::max<int64_t>(2, static_cast<int64_t>(cpu().l2) / 4 / panel_bytes_);
    for (int64_t panel = first_panel, next; panel < last_panel; panel = next) {
      next = std::min(last_panel, panel + fit);
      const int64_t column = panel * kHalfColumns, at = start + column * element_;
      args.b = panels + panel * panel_bytes_;
      args.scale = reinterpret_cast<const float*>(panels + panel * panel_bytes_ + product_bytes_);
      args.bias = bias_[group].as<float>() + column;
      args.columns = std::min(next * kHalfColumns, g_.group_outputs()) - column;
      args.c = call.y + at;
      args.residual = call.residual ? call.residual + at : nullptr;
      kernel_.run(&args);
    }
  }

  // The image of x, or the matrix of a.
  int64_t source_image(const Block& b) const {
    return batch_.a.empty() ? b.image : batch_.a[static_cast<size_t>(b.image)];
  }

  // Rows [first, last) of a block's copy, counted over its planes' rows: (phase_y, row).
  void copy_rows(const Call& call, const Block& b, char* copy, int64_t first, int64_t last) const noexcept {
    const int64_t rows = copy_.rows(b.rows), plane = copy_.plane(b.rows);
    for (int64_t i = first; i < last; ++i) {
      const int64_t phase = i / rows, row = i % rows;
      const int64_t y = (b.y + row) * g_.stride_y + phase - g_.pad_top;
      const char* source = y < 0 || y >= g_.height ? nullptr : source_row(call, b, y);
      for (int64_t px = 0; px < copy_.phases_x; ++px) {
        char* to = copy + (phase * copy_.phases_x + px) * plane + row * copy_.pitch * copy_.pixel;
        if (!source) std::memset(to, 0, static_cast<size_t>(copy_.pitch * copy_.pixel));
        else if (scheme_.merged) copy_merged(source, to);
        else copy_pixels(source, px, to);
      }
    }
  }

  // Channels per pixel of what source_row() gives.
  int64_t source_channels() const { return splits_ ? g_.group_inputs() : g_.inputs; }
  int64_t row_bytes() const {
    if (!splits_) return 0;
    return round_up(g_.width * g_.group_inputs() * 2 * parts_, 64) + round_up(scratch() * 2, 64) +
           (g_.groups > 1 ? round_up(g_.width * g_.group_inputs() * 4, 64) : 0);
  }
  int64_t scratch() const { return convert_.scratch(g_.width); }

  // Row y of x, from the first channel of the block's group on, in parts.
  const char* source_row(const Call& call, const Block& b, int64_t y) const noexcept {
    const int64_t at = (source_image(b) * g_.height + y) * g_.width * g_.inputs;
    if (!splits_) return call.x + at * 2 * parts_ + b.group * g_.group_inputs() * 2;
    const auto* floats = reinterpret_cast<const float*>(call.x) + at + b.group * g_.group_inputs();
    char* halves = call.row + round_up(g_.width * g_.group_inputs() * 2 * parts_, 64);
    if (g_.groups > 1) {
      auto* together = reinterpret_cast<float*>(halves + round_up(scratch() * 2, 64));
      for (int64_t i = 0; i < g_.width; ++i)
        std::memcpy(together + i * g_.group_inputs(), floats + i * g_.inputs,
                    static_cast<size_t>(g_.group_inputs()) * 4);
      floats = together;
    }
    convert_.narrow(floats, reinterpret_cast<uint16_t*>(call.row), g_.width, reinterpret_cast<uint16_t*>(halves));
    return call.row;
  }

  // One row of one plane, pixel by pixel.
  void copy_pixels(const char* source, int64_t phase, char* to) const noexcept {
    const int64_t used = g_.group_inputs() * 2, padded = runs_.padded() * 2, part_bytes = source_channels() * 2;
    const int64_t whole = parts_ * used;
    if (padded == used && part_bytes == used && copy_.pixel == whole && g_.stride_x == 1 && g_.pad_left >= 0) {
      // Pixels lie as in x: one run between two borders.
      const int64_t before = std::min(g_.pad_left, copy_.pitch);
      const int64_t inside = std::min(copy_.pitch - before, g_.width), after = copy_.pitch - before - inside;
      std::memset(to, 0, static_cast<size_t>(before * whole));
      std::memcpy(to + before * whole, source, static_cast<size_t>(inside * whole));
      std::memset(to + (before + inside) * whole, 0, static_cast<size_t>(after * whole));
      return;
    }
    for (int64_t column = 0; column < copy_.pitch; ++column, to += copy_.pixel) {
      const int64_t x = column * g_.stride_x + phase - g_.pad_left;
      const int64_t copied = x < 0 || x >= g_.width ? 0 : used;
      for (int64_t part = 0; part < parts_; ++part) {
        char* at = to + part * padded;
        copy_run(at, source + (x * parts_ + part) * part_bytes, copied);
        clear_run(at + copied, padded - copied);
      }
    }
  }

  // One row: for each output column the channels of all kernel_width pixels that it reads there.
  void copy_merged(const char* source, char* to) const noexcept {
    const int64_t used = g_.group_inputs() * 2, padded = runs_.padded() * 2, part_bytes = source_channels() * 2;
    const bool together = parts_ == 1 && part_bytes == used && g_.dilation_x == 1;
    const int64_t run = g_.kernel_width * used;
    for (int64_t column = 0; column < copy_.pitch; ++column, to += copy_.pixel) {
      const int64_t first = column * g_.stride_x - g_.pad_left;
      if (together && first >= 0 && first + g_.kernel_width <= g_.width) {
        copy_run(to, source + first * used, run);
        clear_run(to + run, padded - run);
        continue;
      }
      for (int64_t part = 0; part < parts_; ++part) {
        char* at = to + part * padded;
        for (int64_t kx = 0; kx < g_.kernel_width; ++kx, at += used) {
          const int64_t x = first + kx * g_.dilation_x;
          if (x < 0 || x >= g_.width) clear_run(at, used);
          else copy_run(at, source + (x * parts_ + part) * part_bytes, used);
        }
        clear_run(at, to + (part + 1) * padded - at);
      }
    }
  }

  Geometry g_;
  HalfScheme scheme_;
  const GemmHalf& kernel_;
  DType part_;
  int64_t parts_;
  bool splits_;  // x is f32
  bool add_;
  int64_t threads_;
  HalfBatch batch_;
  BfloatRows convert_;
  int64_t packed_at_run_ = 0;             // bytes of b's panels, where it is a value
  int64_t image_bytes_ = 0, first_ = 0;   // of y
  int64_t element_ = 2;  // bytes from one output channel to the next
  int64_t taps_ = 1, panels_ = 1, product_bytes_ = 0, panel_bytes_ = 0, block_rows_ = 1, blocks_y_ = 1;
  Runs runs_{};
  Copy copy_;
  GemmHalfArgs args_{};
  std::vector<std::shared_ptr<const Buffer>> weights_;
  std::vector<Buffer> bias_;
};

}  // namespace

bool HalfScheme::can_be_in_place(const Geometry& g, const HalfForms& forms) {
  if (forms.in == DType::f32) return false;
  const bool steps = (g.stride_y == 1 && g.stride_x == 1) || g.out_pixels() == 1;
  return !g.pads() && steps && Runs::dividing(g.group_inputs()).chunks > 0;
}

bool HalfScheme::merging_pays(const Geometry& g) {
  return g.kernel_width > 1 && g.kernel_height * divide_up(g.kernel_width * g.group_inputs(), kHalfDepth) <
                                   g.taps() * divide_up(g.group_inputs(), kHalfDepth);
}

HalfWeights HalfWeights::of_convolution(const Constant& constant, const Geometry& g) {
  HalfWeights w{constant, g.group_outputs() * g.group_inputs() * g.taps(), g.group_inputs() * g.taps(), g.taps(), {}, ""};
  for (int64_t t = 0; t < g.taps(); ++t) w.taps.push_back(t);
  return w;
}

std::unique_ptr<Kernel> half_convolution(const HalfProblem& problem, const HalfScheme& scheme, const GemmHalf& kernel) {
  return std::make_unique<HalfConvolution>(problem, scheme, kernel);
}

Geometry half_matrices(int64_t images, int64_t rows, int64_t depth, int64_t columns) {
  Geometry g;
  g.images = images, g.inputs = depth, g.height = rows, g.width = 1;
  g.outputs = columns, g.kernel_height = g.kernel_width = 1;
  g.out_height = rows, g.out_width = 1;
  g.stride_y = g.stride_x = g.dilation_y = g.dilation_x = g.groups = 1;
  g.pad_top = g.pad_left = 0;
  return g;
}

HalfRoutine::HalfRoutine(const std::string& stem, Layout layout, Layout images, const HalfForms& forms)
    : forms_(forms), images_(images) {
  static constexpr const char* kNames[] = {"", "bf16", "bf16x2", "bf16x3"};
  const bool from = forms.in == DType::f32, to = forms.out == DType::f32;
  const char* ends = from && to ? "_in_f32" : from ? "_from_f32" : to ? "_to_f32" : "";
  card_.id = stem + ends + ":" + (forms.part == DType::f16 ? "f16" : kNames[forms.parts]) + ":" + text(layout) + ":cpu";
  card_.layer = stem.substr(0, stem.find('/'));
  card_.accuracy = forms.parts == 1 ? Accuracy::reduced : forms.parts == 2 ? Accuracy::f32 : Accuracy::strict;
  card_.takes_epilogue = true;
  card_.version = 2;
  // A machine with AMX has AVX512-BF16 too.
  card_.requires_ = forms.part == DType::f16 ? "avx512_fp16" : "avx512_bf16";
}

Ports HalfRoutine::ports(const Problem& p) const {
  Ports ports = uniform_ports(p, images_, forms_.out);
  for (size_t i = 0; i < ports.in.size() - (p.epilogue.add ? 1 : 0); ++i) ports.in[i].dtype = forms_.in;
  return ports;
}

Verdict HalfRoutine::has_kernel(const Problem& p) const {
  if (half_variants(forms_.part, forms_.parts, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
  return Verdict::ok();
}

}  // namespace pw
