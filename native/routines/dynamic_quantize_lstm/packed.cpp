// dynamic_quantize_lstm/packed: x as u8 times packed weights, then step by step h as u8 times packed weights, and the cells.
// Sums are exact; with zero points za of a row and zb of a column, and weights stored less t,
//   sum (a - za) (w - zb) = sum a (w - t) - za * sum (w - t) - (zb - t) * (sum a - K * za).
#include <cmath>
#include <cstring>
#include <limits>

#include "base/size.h"
#include "products/matrix_u8.h"
#include "products/recurrent.h"

namespace pw {
namespace {

enum Input { kX, kW, kR, kB, kLengths, kH, kC, kP, kWScale, kWZero, kRScale, kRZero };

constexpr int64_t kChunkBytes = int64_t{4} << 20;  // of sums of x that are kept for later steps
constexpr int64_t kMostRows = 64;                  // of a tile of any micro-kernel

// A weight or a zero point, as it is.
int32_t whole(DType dtype, const void* data, int64_t i) {
  return dtype == DType::i8 ? static_cast<const int8_t*>(data)[i] : static_cast<const uint8_t*>(data)[i];
}

// How a row of floats stands in u8: x = scale * (q - zero).
struct Rounding {
  float scale = 1;
  int32_t zero = 0;
  static Rounding of(float low, float high) {
    Rounding r;
    if (low != high) r.scale = (high - low) / 255.0f;
    r.zero = static_cast<int32_t>(std::nearbyint(std::clamp(-low / r.scale, 0.0f, 255.0f)));
    return r;
  }
};

// Kernels that are exact for any weights and keep nothing in a thread.
std::vector<std::string> variants_of() {
  std::vector<std::string> names;
  for (const std::string& name : gemm_u8_variants(Act::clip, SecondOperand::value)) {
    const GemmU8& kernel = gemm_u8_kernel(name);
    if (!kernel.open && kernel.rows <= kMostRows) names.push_back(name);
  }
  return names;
}

// Weights of one of w and r: panels, and of every column the sum, the zero point and the scale.
struct Packed {
  int64_t depth = 0, words = 0, row_bytes = 0, panel_bytes = 0;
  Buffer data, columns, zeros, scales;
};

class Kernel8 : public Kernel {
 public:
  Kernel8(const Problem& p, const std::string& variant, const Constants& constants)
      : r_(p), kernel_(gemm_u8_kernel(variant)), cell_(best_ukernel<RecurrentF32>(PW_KIND_RECURRENT_F32)),
        operands_(p, constants), acts_(*gate_acts(r_, false)), dynamic_(p.dynamic()), outputs_(p.out.size()),
        threads_(p.threads) {
    if (p.has(kLengths)) lengths_type_ = p.in[kLengths].dtype;
    for (size_t i : {kLengths, kH, kC}) fixed_ = fixed_ || (p.has(i) && p.in[i].constant);
    blocks_ = divide_up(r_.hidden, kUnits);
    columns_ = blocks_ * 4 * kUnits;
    panels_ = divide_up(columns_, kernel_.columns);
    width_ = panels_ * kernel_.columns;
    pack(p, constants, kW, r_.features, packed_[0]);
    pack(p, constants, kR, r_.hidden, packed_[1]);
    start_ = Buffer(static_cast<size_t>(width_) * 4);
    std::memset(start_.as<int32_t>(), 0, start_.bytes());
    pack_biases();
    plan(p);
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(at_.total); }
  size_t packed_bytes() const override {
    size_t bytes = bias_.bytes() + start_.bytes();
    for (const Packed& p : packed_) bytes += p.data.bytes() + p.columns.bytes() + p.zeros.bytes() + p.scales.bytes();
    return bytes;
  }
  int64_t phases() const override { return 1 + 2 * chunks_; }
  bool open(size_t port, size_t axis) const override {
    if (port < dynamic_.size()) {
      const int input = dynamic_[port];
      if (input == kX) return axis == 0 || (axis == 1 && !fixed_);
      return !fixed_ && (input == kLengths || ((input == kH || input == kC) && axis == 1));
    }
    return port > dynamic_.size() ? axis == 1 && !fixed_ : axis == 0 || (axis == 2 && !fixed_);
  }

  int run(const Context& c) noexcept override {
    const Run run{RecurrentRun(r_, c.in_sizes[0], operands_.get<void>(kLengths, c.in), lengths_type_), c,
                  static_cast<char*>(c.workspace)};
    if (run.of.batch == 0) return 0;
    if (c.team.phase == 0) return begin(run);
    const int64_t first = (c.team.phase - 1) / 2 * chunk_, steps = std::min(chunk_, run.of.steps - first);
    if (steps <= 0) return 0;
    if (c.team.phase % 2) project(run, first, steps);
    else
      c.team.each(r_.directions, 1, [&](int64_t d, int64_t) {
        for (int64_t s = first; s < first + steps; ++s) step(run, d, s, s - first, steps);
      });
    return 0;
  }

 private:
  struct Run {
    RecurrentRun of;
    const Context& c;
    char* workspace;
    template <class T>
    T* at(int64_t offset) const { return reinterpret_cast<T*>(workspace + offset); }
  };
  // Offsets in the workspace, in bytes; `own`: of the threads' areas.
  struct Areas {
    int64_t rounding, x, x_sums, sums, hidden, cell, h, own, total;
  };
  // In a thread's area: pointers, sums of rows, and the sums of a tile.
  static constexpr int64_t kPointers = 0, kRowSums = kMostRows * 8, kBytes = kRowSums + kMostRows * 4;

  int64_t units() const { return blocks_ * kUnits; }

  void pack(const Problem& p, const Constants& constants, int which, int64_t depth, Packed& to) const {
    const auto input = static_cast<size_t>(which);
    const auto scale_at = static_cast<size_t>(which == kW ? kWScale : kRScale), zero_at = scale_at + 1;
    const DType dtype = p.in[input].dtype;
    const int32_t middle = dtype == DType::u8 ? 128 : 0;
    const int64_t group = kernel_.group, tile = kernel_.columns;
    to.depth = depth;
    to.words = divide_up(depth, group);
    to.row_bytes = round_up(to.words * 4, 64);
    to.panel_bytes = to.words * tile * 4;
    to.data = Buffer(static_cast<size_t>(r_.directions * panels_ * to.panel_bytes));
    to.columns = Buffer(static_cast<size_t>(r_.directions * width_) * 4);
    to.zeros = Buffer(static_cast<size_t>(r_.directions * width_) * 4);
    to.scales = Buffer(static_cast<size_t>(r_.directions * width_) * 4);
    std::memset(to.data.as<char>(), 0, to.data.bytes());
    const int64_t rows = 4 * r_.hidden;
    const bool each_scale = p.in[scale_at].shape.size() == 2, each_zero = p.in[zero_at].shape.size() == 2;
    parallel_for(r_.directions * width_, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t d = i / width_, column = i % width_, within = column % (4 * kUnits);
        const int64_t unit = column / (4 * kUnits) * kUnits + within % kUnits, from = within / kUnits * r_.hidden + unit;
        int32_t sum = 0;
        to.columns.as<int32_t>()[i] = to.zeros.as<int32_t>()[i] = 0;
        to.scales.as<float>()[i] = 0;
        if (column >= columns_ || unit >= r_.hidden) continue;
        char* panel = to.data.as<char>() + (d * panels_ + column / tile) * to.panel_bytes;
        for (int64_t k = 0; k < depth; ++k) {
          const int32_t w = whole(dtype, constants[input].data, (d * depth + k) * rows + from) - middle;
          const int64_t at = (k / group * tile + column % tile) * group + k % group;
          if (group == 4) reinterpret_cast<int8_t*>(panel)[at] = static_cast<int8_t>(w);
          else reinterpret_cast<int16_t*>(panel)[at] = static_cast<int16_t>(w);
          sum += w;
        }
        to.columns.as<int32_t>()[i] = sum;
        to.zeros.as<int32_t>()[i] =
            whole(dtype, constants[zero_at].data, each_zero ? d * rows + from : d) - middle;
        to.scales.as<float>()[i] = constants[scale_at].as<float>()[each_scale ? d * rows + from : d];
      }
    });
  }

  // Of each direction the biases of both products, then the peepholes, block by block.
  void pack_biases() {
    const auto *b = operands_.get<float>(kB, nullptr), *p = operands_.get<float>(kP, nullptr);
    bias_ = Buffer(static_cast<size_t>(r_.directions * bias_floats()) * 4);
    std::memset(bias_.as<float>(), 0, bias_.bytes());
    for (int64_t d = 0; d < r_.directions; ++d) {
      float* to = bias_.as<float>() + d * bias_floats();
      for (int64_t g = 0; g < 4; ++g)
        for (int64_t unit = 0; unit < r_.hidden; ++unit) {
          const int64_t block = unit / kUnits, at = unit % kUnits, i = g * r_.hidden + unit, rows = 4 * r_.hidden;
          if (b) to[(block * 4 + g) * kUnits + at] = b[d * 2 * rows + i] + b[(d * 2 + 1) * rows + i];
          if (p && g < 3) to[width_ + (block * 3 + g) * kUnits + at] = p[d * 3 * r_.hidden + i];
        }
    }
  }
  int64_t bias_floats() const { return width_ + blocks_ * 3 * kUnits; }

  void plan(const Problem& p) {
    const int64_t steps = std::max<int64_t>(1, p.in[0].shape[0]), batch = std::max<int64_t>(1, p.in[0].shape[1]);
    chunk_ = std::clamp<int64_t>(kChunkBytes / (r_.directions * width_ * 4) / batch, 1, steps);
    chunks_ = divide_up(steps, chunk_);
    at_ = {};
    const auto room = [&](int64_t bytes) {
      const int64_t at = at_.total;
      at_.total += round_up(bytes, 64);
      return at;
    };
    const int64_t states = 2 * r_.directions * batch * units() * 4;
    at_.rounding = room(sizeof(Rounding));
    at_.x = room(steps * batch * packed_[0].row_bytes);
    at_.x_sums = room(steps * batch * 4);
    at_.sums = room(r_.directions * chunk_ * batch * width_ * 4);
    at_.hidden = room(states);
    at_.cell = room(states);
    at_.h = room(r_.directions * (batch * packed_[1].row_bytes + batch * 4 + r_.hidden + 64));
    own_ = round_up(kBytes + kernel_.rows * width_ * 4 + r_.features, 64);
    at_.own = room(own_ * threads_);
  }

  float* before(const Run& run, int64_t area, int64_t s, int64_t d) const {
    return run.at<float>(area) + ((s & 1) * r_.directions + d) * run.of.batch * units();
  }

  // The first states, x as u8, and the last states where there is no step.
  int begin(const Run& run) const noexcept {
    bool fits = true;
    run.c.team.each(1, 1, [&](int64_t, int64_t) {
      fits = run.of.fits();
      const auto bytes = static_cast<size_t>(r_.hidden) * 4;
      for (int state = 0; state < 2; ++state)
        for (int64_t d = 0; d < r_.directions; ++d)
          for (int64_t b = 0; b < run.of.batch; ++b) {
            float* to = before(run, state ? at_.cell : at_.hidden, 0, d) + b * units();
            const float* from = operands_.get<float>(state ? kC : kH, run.c.in);
            std::memset(to, 0, static_cast<size_t>(units()) * 4);
            if (from) std::memcpy(to, from + r_.state_row(d, b, run.of.batch), bytes);
            if (run.of.length(b) == 0 && outputs_ > static_cast<size_t>(1 + state))
              std::memset(static_cast<float*>(run.c.out[1 + state]) + r_.state_row(d, b, run.of.batch), 0, bytes);
          }
      int64_t longest = 0;
      for (int64_t b = 0; b < run.of.batch; ++b) longest = std::max(longest, run.of.length(b));
      const auto* x = operands_.get<float>(kX, run.c.in);
      float range[2] = {0, 0};
      cell_.range(x, longest * run.of.batch * r_.features, range);
      const Rounding rounding = Rounding::of(range[0], range[1]);
      *run.at<Rounding>(at_.rounding) = rounding;
      auto* row = run.at<uint8_t>(at_.own + run.c.team.index * own_ + kBytes);
      for (int64_t i = 0; i < run.of.steps * run.of.batch; ++i) {
        const RoundRowArgs args{x + i * r_.features, row, r_.features, rounding.scale, rounding.zero};
        run.at<int32_t>(at_.x_sums)[i] = cell_.round_row(&args);
        kernel_.stage(&row, 1, r_.features, packed_[0].words, run.at<char>(at_.x) + i * packed_[0].row_bytes);
      }
    });
    return fits ? 0 : kOutside;
  }

  // y[row] = base + product of rows [0, rows) that `from(row)` points to, in f32.
  template <class From>
  void multiply(const Packed& weights, int64_t d, int64_t rows, const From& from, const Rounding& rounding, char* area,
                const float* base, int64_t base_row, float* y) const noexcept {
    auto** pointers = reinterpret_cast<const void**>(area + kPointers);
    auto* row_sums = reinterpret_cast<int32_t*>(area + kRowSums);
    auto* sums = reinterpret_cast<int32_t*>(area + kBytes);
    for (int64_t i = 0; i < kernel_.rows; ++i) {
      const auto [data, sum] = from(std::min(i, rows - 1));
      pointers[i] = data;
      row_sums[i] = sum;
    }
    GemmU8Args args{};
    args.a = pointers;
    args.b = weights.data.as<char>() + d * panels_ * weights.panel_bytes;
    args.start = start_.as<int32_t>();
    args.sums = sums;
    args.taps = 1;
    args.words = weights.words;
    args.step = 1;
    args.rows = rows;
    args.tile_rows = kernel_.rows;
    args.columns = width_;
    args.c_row = width_;
    kernel_.run(&args);
    for (int64_t i = 0; i < rows; ++i) {
      const int32_t rest = row_sums[i] - static_cast<int32_t>(weights.depth) * rounding.zero;
      const ScaledSumsArgs scaled{sums + i * width_, weights.columns.as<int32_t>() + d * width_,
                                  weights.zeros.as<int32_t>() + d * width_, weights.scales.as<float>() + d * width_,
                                  base + i * base_row, y + i * width_, columns_, rounding.scale, rounding.zero, rest};
      cell_.scaled_sums(&scaled);
    }
  }

  void project(const Run& run, int64_t first, int64_t steps) const noexcept {
    const int64_t batch = run.of.batch, rows = steps * batch, tiles = divide_up(rows, kernel_.rows);
    const int64_t grain = std::max<int64_t>(1, r_.directions * tiles / (4 * threads_));
    run.c.team.each(r_.directions * tiles, grain, [&](int64_t from, int64_t last) {
      const Rounding rounding = *run.at<Rounding>(at_.rounding);
      char* area = run.at<char>(at_.own + run.c.team.index * own_);
      for (int64_t i = from; i < last; ++i) {
        const int64_t d = i / tiles, at = i % tiles * kernel_.rows;
        float* y = run.at<float>(at_.sums) + (d * rows + at) * width_;
        multiply(packed_[0], d, std::min<int64_t>(kernel_.rows, rows - at), [&](int64_t k) {
          const int64_t s = first + (at + k) / batch, b = (at + k) % batch;
          const int64_t row = run.of.time(s, run.of.length(b), r_.backward(d)) * batch + b;
          return std::pair(run.at<char>(at_.x) + row * packed_[0].row_bytes, run.at<int32_t>(at_.x_sums)[row]);
        }, rounding, area, bias_.as<float>() + d * bias_floats(), 0, y);
      }
    });
  }

  // Step s of a direction, the `row`-th of those whose sums of x are kept.
  void step(const Run& run, int64_t d, int64_t s, int64_t row, int64_t steps) const noexcept {
    const int64_t batch = run.of.batch;
    char* area = run.at<char>(at_.own + run.c.team.index * own_);
    const Packed& r = packed_[1];
    float *h_before = before(run, at_.hidden, s, d), *h = before(run, at_.hidden, s + 1, d);
    float *c_before = before(run, at_.cell, s, d), *c = before(run, at_.cell, s + 1, d);
    char* rounded = run.at<char>(at_.h) + d * (batch * r.row_bytes + batch * 4 + r_.hidden + 64) / 64 * 64;
    auto* row_sums = reinterpret_cast<int32_t*>(rounded + batch * r.row_bytes);
    auto* bytes = reinterpret_cast<uint8_t*>(row_sums + batch);
    float range[2] = {0, 0};
    for (int64_t b = 0; b < batch; ++b) cell_.range(h_before + b * units(), r_.hidden, range);
    const Rounding rounding = Rounding::of(range[0], range[1]);
    for (int64_t b = 0; b < batch; ++b) {
      const RoundRowArgs args{h_before + b * units(), bytes, r_.hidden, rounding.scale, rounding.zero};
      row_sums[b] = cell_.round_row(&args);
      kernel_.stage(&bytes, 1, r_.hidden, r.words, rounded + b * r.row_bytes);
    }
    float* sums = run.at<float>(at_.sums) + (d * steps + row) * batch * width_;
    for (int64_t b = 0; b < batch; b += kernel_.rows)
      multiply(r, d, std::min<int64_t>(kernel_.rows, batch - b),
               [&](int64_t k) { return std::pair(rounded + (b + k) * r.row_bytes, row_sums[b + k]); }, rounding, area,
               sums + b * width_, width_, sums + b * width_);
    CellF32Args args{};
    args.rows = batch;
    args.blocks = blocks_;
    args.state_row = units();
    args.sums = sums;
    args.sums_row = width_;
    args.sums_block = 4 * kUnits;
    args.c_before = c_before;
    args.h = h;
    args.c = c;
    args.coupled = r_.coupled;
    for (int64_t i = 0; i < 3; ++i) args.act[i] = acts_[static_cast<size_t>(3 * d + i)];
    if (operands_.given(kP)) args.peepholes = bias_.as<float>() + d * bias_floats() + width_;
    cell_.lstm(&args);
    hand_out(run, d, s, h, c);
  }

  // A sequence that has ended goes on from 0: its last state still counts in the next step's scale.
  void hand_out(const Run& run, int64_t d, int64_t s, float* h, float* c) const noexcept {
    const auto bytes = static_cast<size_t>(r_.hidden) * 4;
    for (int64_t b = 0; b < run.of.batch; ++b, h += units(), c += units()) {
      const int64_t length = run.of.length(b), t = run.of.time(s, length, r_.backward(d));
      if (s >= length) {
        std::memset(h, 0, static_cast<size_t>(units()) * 4);
        std::memset(c, 0, static_cast<size_t>(units()) * 4);
      }
      std::memcpy(static_cast<float*>(run.c.out[0]) + r_.y_row(t, d, b, run.of.steps, run.of.batch), h, bytes);
      const float* states[2] = {h, c};
      for (size_t state = 0; state < 2 && s + 1 == length && outputs_ > 1 + state; ++state)
        std::memcpy(static_cast<float*>(run.c.out[1 + state]) + r_.state_row(d, b, run.of.batch), states[state], bytes);
    }
  }

  Recurrence r_;
  const GemmU8& kernel_;
  const RecurrentF32& cell_;
  Operands operands_;
  std::vector<GateAct> acts_;
  std::vector<int> dynamic_;
  size_t outputs_;
  int threads_;
  bool fixed_ = false;  // some input with a size per sequence is a constant
  DType lengths_type_ = DType::i32;
  int64_t blocks_, columns_, panels_, width_;  // width: columns of whole panels
  Packed packed_[2];
  Buffer bias_, start_;
  int64_t chunk_ = 1, chunks_ = 1, own_ = 0;
  Areas at_{};
};

class PackedLstm8 : public Routine {
 public:
  PackedLstm8() : Routine({.id = "dynamic_quantize_lstm/packed:f32:plain:cpu", .version = 2, .accuracy = Accuracy::f32}) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 12) return Verdict::no("it takes 12 inputs");
    if (Verdict v = accepts_recurrent(p, DType::f32); !v) return v;
    for (size_t i : {kW, kR, kB, kP, kWScale, kWZero, kRScale, kRZero})
      if (p.has(i) && !p.in[i].constant) return Verdict::no("a weight, scale or zero point is a value");
    if (p.in[1].count() == 0 || p.in[2].count() == 0) return Verdict::no("the weights are empty");
    const Recurrence r(p);
    if (r.batch_first) return Verdict::no("the sequences come first");
    if (std::max(r.features, r.hidden) > (1 << 16)) return Verdict::no("sums of so many products do not fit 32 bits");
    if (saturated(p.in[0].shape[0] * p.in[0].shape[1], 2 * r.features + 128) > kMostBytes || p.in[0].shape[0] > (1 << 18) ||
        saturated(saturated(r.directions * 64, r.hidden + 1024), p.in[0].shape[1]) > kMostBytes)
      return Verdict::no("its workspace is too large");
    if (variants_of().empty() || ukernel_names(PW_KIND_RECURRENT_F32).empty())
      return Verdict::no("no micro-kernel in this tier");
    return gate_acts(r, false) ? Verdict::ok() : Verdict::no("no micro-kernel applies one of the activations");
  }
  std::vector<std::string> variants(const Problem&) const override { return variants_of(); }
  Ports ports(const Problem& p) const override { return recurrent_ports(p); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<Kernel8>(p, variant, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<PackedLstm8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
