// attention/tiles: blocks of queries go over blocks of keys with a running maximum, so that no matrix of all scores is made.
//
// Many queries to a key head: its keys and values are packed once, then the products are those of gemm_f32. Few of them, as in
// a step of a decoder: keys and values are read once, where they lie, in chunks that the threads share; the last phase joins
// the chunks. Which of the two it is, and how the work is cut, depends on sizes alone.
#include <cstring>

#include "routines/attention/attention.h"
#include "spi/estimate.h"
#include "spi/rooms.h"
#include "ukernels/kinds/attention_f32.h"
#include "ukernels/kinds/gemv_f32.h"
#include "ukernels/kinds/gevm_f32.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {
namespace {

constexpr int64_t kFew = 8;       // rows of queries to a key head up to which keys are read where they lie
constexpr int64_t kKeys = 256;    // in a block or chunk, about
constexpr int64_t kQueries = 48;  // rows of queries in a block, about
constexpr int64_t kRoom = 16;     // floats behind a row of scores
constexpr int64_t kPointers = 32;

class AttentionKernel : public Kernel, public TakesRoom {
 public:
  AttentionKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : operands_(p, constants), options_(p), gemm_(gemm_kernel(variant)),
        attention_(best_ukernel<AttentionF32>(PW_KIND_ATTENTION_F32)), gemv_(best_ukernel<GemvF32>(PW_KIND_GEMV_F32)),
        gevm_(best_ukernel<GevmF32>(PW_KIND_GEVM_F32)), transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)) {
    for (size_t i = 0; i < p.in.size(); ++i) {
      shapes_.push_back(p.in[i].shape);
      types_.push_back(p.in[i].dtype);
      present_.push_back(p.in[i].present);
    }
    for (int i : p.dynamic()) port_input_.push_back(static_cast<size_t>(i));
    keys_ = std::max<int64_t>(1, kKeys / gemm_.columns) * gemm_.columns;
    queries_ = std::max<int64_t>(1, kQueries / gemm_.rows) * gemm_.rows;
    const AttentionSizes s(options_, shapes_[0].data(), shapes_[1].data(), shapes_[2].data());
    // Of sizes up to these; few rows may be left of many.
    few_floats_ = s.batch * s.groups * divide_up(s.keys, kKeys) * std::min(s.rows(), kFew) * partial(s.width);
    if (s.rows() > kFew) many_floats_ = s.batch * s.groups * (key_floats(s) + value_floats(s));
    const int64_t block = queries_ * (keys_ + kRoom) + queries_ * round_up(s.width, gemm_.columns) + kKeys;
    areas_ = {round_up(kPointers * 8 + queries_ * static_cast<int64_t>(sizeof(Row)) + block * 4, 64), p.threads};
  }

  int64_t phases() const override { return 2; }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(round_up(std::max(few_floats_, many_floats_), 16)) * 4 + areas_.total();
  }
  // Batch and sequences.
  bool open(size_t port, size_t axis) const override {
    if (port >= port_input_.size()) return axis == 0 || axis == (options_.inside[3] ? 1u : 2u);
    const size_t i = port_input_[port];
    if (i < 3) return axis == 0 || axis == (options_.inside[i] ? 1u : 2u);
    if (i == 3) return shapes_[3].size() - axis != 3;
    return i != 6;
  }

  // Of keys and values, which are the second and third port: none of the first three inputs is a constant.
  int room(size_t port) const override { return port == 1 || port == 2 ? (options_.inside[port] ? 1 : 2) : -1; }

  int run(const Context& c) noexcept override {
    const AttentionRun run = at(c);
    if (run.rows() > kFew) many(run, c);
    else few(run, c);
    return 0;
  }

 private:
  // What is known of a row of a block: its head and query, the keys that it sees, and the state of its softmax.
  struct Row {
    int64_t head, query, first, last;
    const char* mask;
    float most, total;
  };


  AttentionRun at(const Context& c) const {
    const int64_t* sizes[3];
    for (int i = 0; i < 3; ++i) sizes[i] = operands_.sizes(i, c.in_sizes, shapes_[static_cast<size_t>(i)]);
    const AttentionSizes s(options_, sizes[0], sizes[1], sizes[2]);
    AttentionRun run(s, options_);
    run.q = {operands_.get<float>(0, c.in), s.heads, s.queries, s.depth, options_.inside[0]};
    run.k = {operands_.get<float>(1, c.in), s.groups, room_in(c, 1, s.keys), s.depth, options_.inside[1]};
    run.v = {operands_.get<float>(2, c.in), s.groups, room_in(c, 2, s.keys), s.width, options_.inside[2]};
    run.y = {static_cast<float*>(c.out[0]), s.heads, s.queries, s.width, options_.inside[3]};
    const double usual = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, s.depth)));
    run.scale = static_cast<float>(options_.scale != 0 ? options_.scale : usual);
    if (has(3)) {
      const int64_t* size = operands_.sizes(3, c.in_sizes, shapes_[3]);
      const size_t rank = shapes_[3].size();
      run.mask = operands_.get<char>(3, c.in);
      run.adds = types_[3] == DType::f32;
      run.mask_keys = size[rank - 1];
      run.one = !options_.padded && run.mask_keys == 1 && s.keys != 1;
      int64_t step = run.mask_keys * (run.adds ? 4 : 1);
      if (run.one) run.mask_keys = s.keys;
      int64_t* steps[3] = {&run.mask_query, &run.mask_head, &run.mask_batch};
      for (size_t back = 0; back < 3 && back + 2 <= rank; ++back) {
        const int64_t n = size[rank - 2 - back];
        *steps[back] = n == 1 ? 0 : step;
        step *= n;
      }
    }
    run.lengths = index(4, c);
    run.offset = index(5, c);
    run.sink = has(6) ? operands_.get<float>(6, c.in) : nullptr;
    return run;
  }
  bool has(size_t i) const { return i < present_.size() && present_[i]; }
  BatchIndex index(size_t i, const Context& c) const {
    if (!has(i)) return {};
    const int at = static_cast<int>(i);
    const bool one = operands_.sizes(at, c.in_sizes, shapes_[i])[0] == 1;
    return {operands_.get<void>(at, c.in), types_[i] == DType::i64, one ? 0 : 1};
  }

  // One row of scores of keys [k0, k0 + n) becomes exponentials; gives the factor of what was summed up before. `area`: the
  // thread's, whose end is for one element of the mask as often as there are keys.
  float exponentials(const AttentionRun& run, Row& row, float* x, int64_t k0, int64_t n, char* area) const {
    AttentionRowArgs args;
    args.x = x;
    args.add = row.mask && run.adds ? reinterpret_cast<const float*>(row.mask) + k0 : nullptr;
    args.seen = row.mask && !run.adds ? reinterpret_cast<const uint8_t*>(row.mask) + k0 : nullptr;
    if (run.one) {
      auto* all = reinterpret_cast<float*>(area + areas_.bytes) - kKeys;
      args.seen = nullptr;
      if (run.adds) {
        std::fill_n(all, n, *reinterpret_cast<const float*>(row.mask));
        args.add = all;
      }
    }
    args.n = n;
    args.first = std::clamp<int64_t>(row.first - k0, 0, n);
    args.last = std::clamp<int64_t>(row.last - k0, args.first, n);
    args.scale = run.scale;
    args.softcap = options_.softcap;
    args.most = row.most;
    args.total = row.total;
    attention_.row(&args);
    row.most = args.most;
    row.total = args.total;
    return args.factor;
  }

  // Many rows: phase 0 packs keys and values, phase 1 computes.

  int64_t key_floats(const AttentionSizes& s) const { return round_up(s.keys, gemm_.columns) * s.depth; }
  int64_t value_floats(const AttentionSizes& s) const { return round_up(s.width, gemm_.columns) * s.keys; }

  void many(const AttentionRun& run, const Context& c) const {
    auto* packed = static_cast<float*>(c.workspace);
    const int64_t pairs = run.batch * run.groups;
    if (c.team.phase == 0) {
      const int64_t key_panels = divide_up(run.keys, gemm_.columns), parts = divide_up(run.keys, keys_);
      const int64_t pieces = key_panels + divide_up(run.width, gemm_.columns) * parts, all = pairs * pieces;
      c.team.each(all, std::max<int64_t>(1, all / (8 * c.team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t pair = i / pieces, piece = i % pieces;
          float* to = packed + pair * (key_floats(run) + value_floats(run));
          if (piece < key_panels) pack_keys(run, pair, piece, to);
          else pack_values(run, pair, (piece - key_panels) / parts, (piece - key_panels) % parts, to + key_floats(run));
        }
      });
      return;
    }
    const int64_t blocks = divide_up(run.rows(), queries_), all = pairs * blocks;
    auto* areas = reinterpret_cast<char*>(packed + round_up(std::max(few_floats_, many_floats_), 16));
    c.team.each(all, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const auto [row, rows] = EvenParts(run.rows(), blocks)[i % blocks];
        block(run, i / blocks, row, rows, packed + i / blocks * (key_floats(run) + value_floats(run)),
              areas_.own<char>(areas, c.team));
      }
    });
  }

  void pack_keys(const AttentionRun& run, int64_t pair, int64_t panel, float* to) const {
    const int64_t tile = gemm_.columns, first = panel * tile, width = std::min<int64_t>(tile, run.keys - first);
    to += panel * tile * run.depth;
    if (width < tile) std::memset(to, 0, static_cast<size_t>(tile * run.depth) * 4);
    transpose_.run(run.k.at(pair / run.groups, pair % run.groups, first), run.k.row, to, tile, width, run.depth);
  }

  void pack_values(const AttentionRun& run, int64_t pair, int64_t panel, int64_t part, float* to) const {
    const int64_t tile = gemm_.columns, width = std::min<int64_t>(tile, run.width - panel * tile);
    const int64_t first = part * keys_, last = std::min(run.keys, first + keys_);
    to += (panel * run.keys + first) * tile;
    const float* from = run.v.at(pair / run.groups, pair % run.groups, first) + panel * tile;
    if (width < tile) std::memset(to, 0, static_cast<size_t>((last - first) * tile) * 4);
    for (int64_t k = first; k < last; ++k, from += run.v.row, to += tile) std::memcpy(to, from, static_cast<size_t>(width) * 4);
  }

  // `count` rows of queries of one pair of batch and key head.
  void block(const AttentionRun& run, int64_t pair, int64_t row0, int64_t count, const float* packed, char* area) const {
    auto** pointers = reinterpret_cast<const float**>(area);
    auto* rows = reinterpret_cast<Row*>(area + kPointers * 8);
    auto* scores = reinterpret_cast<float*>(rows + queries_);
    float* sums = scores + queries_ * (keys_ + kRoom);
    const int64_t b = pair / run.groups, stride = keys_ + kRoom, width = round_up(run.width, gemm_.columns);
    int64_t low = run.keys, high = 0;
    for (int64_t i = 0; i < count; ++i) {
      Row& row = rows[i];
      row = begun(run, b, pair % run.groups, row0 + i, run.sink != nullptr);
      if (row.first < row.last) low = std::min(low, row.first), high = std::max(high, row.last);
    }
    const EvenParts tiles(count, divide_up(count, gemm_.rows));
    const int64_t tile_count = divide_up(count, gemm_.rows);
    bool begins = true;
    for (int64_t k0 = low / keys_ * keys_; k0 < high; k0 += keys_, begins = false) {
      const int64_t n = std::min(keys_, high - k0);
      for (int64_t t = 0; t < tile_count; ++t) {
        const auto [first, length] = tiles[t];
        for (int64_t i = 0; i < gemm_.rows; ++i) {
          const Row& row = rows[first + std::min(i, length - 1)];
          pointers[i] = run.q.at(b, row.head, row.query);
        }
        multiply(pointers, length, run.depth, packed + k0 * run.depth, run.depth * gemm_.columns, round_up(n, gemm_.columns),
                 scores + first * stride, stride, true);
      }
      for (int64_t i = 0; i < count; ++i) {
        const float factor = exponentials(run, rows[i], scores + i * stride, k0, n, area);
        if (!begins && factor != 1) attention_.scale(sums + i * width, factor, sums + i * width, width);
      }
      for (int64_t t = 0; t < tile_count; ++t) {
        const auto [first, length] = tiles[t];
        for (int64_t i = 0; i < gemm_.rows; ++i) pointers[i] = scores + (first + std::min(i, length - 1)) * stride;
        multiply(pointers, length, n, packed + key_floats(run) + k0 * gemm_.columns, run.keys * gemm_.columns, width,
                 sums + first * width, width, begins);
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      float* y = run.y.at(b, rows[i].head, rows[i].query);
      const auto [factor, zeros] = options_.last(rows[i].total, run.keys);
      if (begins || zeros) std::fill(y, y + run.width, zeros ? 0.0f : 0.0f * factor);
      else attention_.scale(sums + i * width, factor, y, run.width);
    }
  }

  // A row before its first key; `sinks`: with the term of the sum that no key has.
  Row begun(const AttentionRun& run, int64_t b, int64_t group, int64_t row, bool sinks) const {
    Row r;
    r.head = group * run.shared() + row / run.queries;
    r.query = row % run.queries;
    const auto span = run.span(b, r.query);
    r.first = span.first;
    r.last = span.last;
    r.mask = run.mask_row(b, r.head, r.query);
    if (run.one && !run.adds && !*r.mask) r.last = r.first;
    r.most = sinks ? run.sink[r.head] : -__builtin_inff();
    r.total = sinks ? 1.0f : 0.0f;
    return r;
  }

  // c = a * b (+ c), of `rows` rows of a; columns are whole panels.
  void multiply(const float* const* a, int64_t rows, int64_t depth, const float* b, int64_t panel, int64_t columns, float* c,
                int64_t stride, bool first) const {
    GemmF32Args args{};
    args.a = a;
    args.b = b;
    args.c = c;
    args.taps = 1;
    args.depth = depth;
    args.b_panel = panel;
    args.rows = rows;
    args.columns = columns;
    args.c_row = stride;
    args.c_group = 16;
    args.act = kNoActivation;
    args.first = first;
    args.last = true;
    gemm_.run(&args);
  }

  // Few rows: phase 0 goes over chunks of keys, phase 1 joins them.

  // Floats of a row in a chunk: the sums, the largest score and the sum of exponentials.
  static int64_t partial(int64_t width) { return round_up(width + 2, 16); }

  void few(const AttentionRun& run, const Context& c) const {
    auto* partials = static_cast<float*>(c.workspace);
    auto* areas = reinterpret_cast<char*>(partials + round_up(std::max(few_floats_, many_floats_), 16));
    const int64_t chunks = divide_up(run.keys, kKeys), rows = run.rows(), size = partial(run.width);
    if (c.team.phase == 0) {
      const int64_t all = run.batch * run.groups * chunks, each = kKeys * (run.depth + run.width);
      c.team.each(all, std::clamp<int64_t>(16384 / std::max<int64_t>(1, each), 1, 16), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i)
          chunk(run, i / chunks, i % chunks, partials + i * rows * size, areas_.own<float>(areas, c.team));
      });
      return;
    }
    const int64_t all = run.batch * run.heads * run.queries;
    c.team.each(all, std::max<int64_t>(1, 4096 / ((chunks + 1) * size)), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t pair = i / rows, row = i % rows;
        join(run, pair, row, chunks, partials + (pair * chunks * rows + row) * size, rows * size);
      }
    });
  }

  // All rows of a pair over the keys of one chunk.
  void chunk(const AttentionRun& run, int64_t pair, int64_t index, float* to, float* scores) const {
    const int64_t b = pair / run.groups, g = pair % run.groups, size = partial(run.width);
    const int64_t begin = index * kKeys, end = std::min(run.keys, begin + kKeys);
    for (int64_t i = 0; i < run.rows(); ++i, to += size) {
      Row row = begun(run, b, g, i, false);
      std::fill(to, to + run.width, 0.0f);
      const int64_t k0 = std::max(begin, row.first), n = std::min(end, row.last) - k0;
      if (n > 0) {
        gemv_.run(run.k.at(b, g, k0), run.k.row, run.q.at(b, row.head, row.query), run.depth, n, scores);
        exponentials(run, row, scores, k0, n, reinterpret_cast<char*>(scores));
        gevm_.run(scores, run.v.at(b, g, k0), run.v.row, n, run.width, to);
      }
      to[size - 2] = row.most;
      to[size - 1] = row.total;
    }
  }

  void join(const AttentionRun& run, int64_t pair, int64_t index, int64_t chunks, float* from, int64_t step) const {
    const int64_t size = partial(run.width);
    const Row row = begun(run, pair / run.groups, pair % run.groups, index, run.sink != nullptr);
    float most = row.most, total = 0;
    for (int64_t k = 0; k < chunks; ++k) most = std::max(most, from[k * step + size - 2]);
    const float base = std::isinf(most) && most < 0 ? 0 : most;
    if (run.sink) total = std::exp(row.most - base);
    for (int64_t k = 0; k < chunks; ++k) total += from[k * step + size - 1] * std::exp(from[k * step + size - 2] - base);
    float* y = run.y.at(pair / run.groups, row.head, row.query);
    const auto [factor, zeros] = options_.last(total, run.keys);
    std::fill(y, y + run.width, zeros ? 0.0f : 0.0f * factor);  // NaN where nothing is seen and nothing guards
    if (zeros) return;
    for (int64_t k = 0; k < chunks; ++k) {
      const float* part = from + k * step;
      if (part[size - 1] != 0) attention_.add(part, std::exp(part[size - 2] - base) * factor, y, run.width);
    }
  }

  Operands operands_;
  AttentionOptions options_;
  const GemmF32& gemm_;
  const AttentionF32& attention_;
  const GemvF32& gemv_;
  const GevmF32& gevm_;
  const TransposeF32& transpose_;
  std::vector<Dims> shapes_;
  std::vector<DType> types_;
  std::vector<char> present_;
  std::vector<size_t> port_input_;  // of each dynamic port
  int64_t keys_ = 0, queries_ = 0;  // in a block
  int64_t few_floats_ = 0, many_floats_ = 0;
  ThreadAreas areas_;
};

class AttentionTiles : public Routine, public Estimating {
 public:
  AttentionTiles() : Routine({.id = "attention/tiles:f32:plain:cpu"}) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.out.size() != 1) return Verdict::no("it gives no scores");
    for (size_t i = 0; i < 3; ++i) {
      if (p.in[i].dtype != DType::f32) return Verdict::no("q, k or v is not f32");
      if (p.in[i].constant) return Verdict::no("q, k or v is a constant");
      if (p.in[i].count() == 0) return Verdict::no("a tensor is empty");
    }
    if (p.has(3) && p.in[3].dtype != DType::f32 && p.in[3].dtype != DType::boolean)
      return Verdict::no("the mask is neither f32 nor bool");
    if (p.has(3) && p.in[3].count() == 0) return Verdict::no("the mask is empty");
    if (gemm_variants(Layout::plain).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return gemm_variants(Layout::plain); }
  Ports ports(const Problem& p) const override {
    Ports ports;
    const auto format = [](const Tensor& t) { return Format{t.dtype, plain_layout(t.shape.size()), "cpu"}; };
    for (int i : p.dynamic()) ports.in.push_back(format(p.in[static_cast<size_t>(i)]));
    for (const Tensor& t : p.out) ports.out.push_back(format(t));
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.45); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<AttentionKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<AttentionTiles>(); }
}  // namespace PW_COLLECT
}  // namespace pw
