// matmul_integer/gemm: exact sums of products of bytes of any signs and zero points. B is packed when the kernel is prepared
// where it is a constant, else by the team at the start of every run; see products/integer.h.
#include <cstring>
#include <vector>

#include "products/estimates_u8.h"
#include "routines/matmul_integer/excess.h"

namespace pw {
namespace {

constexpr size_t kMostRankHere = 10;
constexpr int64_t kBlockBytes = 256 << 10;  // of B that a piece goes over

// Matrices of one run; results are numbered, and `operands` gives the matrices of a and b that make one.
class Matrices {
 public:
  int64_t rows, depth, columns, batch = 1, b_matrices = 1, a_rows = 1;

  Matrices(const Operand& a, const Operand& b) {
    rows = a.rank > 1 ? a.size[a.rank - 2] : 1;
    depth = a.size[a.rank - 1];
    columns = b.rank > 1 ? b.size[b.rank - 1] : 1;
    const int a_axes = std::max(0, a.rank - 2), b_axes = std::max(0, b.rank - 2);
    axes_ = std::max(a_axes, b_axes);
    int64_t a_matrices = 1;
    for (int i = axes_; i-- > 0;) {
      const int back = axes_ - i;
      const int64_t own_a = back <= a_axes ? a.size[a_axes - back] : 1, own_b = back <= b_axes ? b.size[b_axes - back] : 1;
      axis_[i] = {own_a == 1 ? own_b : own_a, own_a == 1 ? 0 : a_matrices, own_b == 1 ? 0 : b_matrices};
      batch *= axis_[i].size;
      a_matrices *= own_a;
      b_matrices *= own_b;
    }
    a_rows = a_matrices * rows;
    one_rows_ = rows;
    if (b_matrices == 1 && a_matrices == batch) {  // the matrices of a are the rows of a single product
      rows *= batch;
      batch = 1;
      axes_ = 0;
    }
  }
  std::pair<int64_t, int64_t> operands(int64_t n) const {
    int64_t a = 0, b = 0;
    for (int i = axes_; i-- > 0; n /= axis_[i].size) {
      const int64_t at = n % axis_[i].size;
      a += at * axis_[i].a;
      b += at * axis_[i].b;
    }
    return {a, b};
  }
  // Rows of a as the model has them, before they were joined.
  int64_t one_rows() const { return one_rows_; }

 private:
  struct Axis {
    int64_t size, a, b;
  };
  int axes_ = 0;
  int64_t one_rows_ = 1;
  Axis axis_[kMostRankHere];
};

enum Input { kA, kB, kAZero, kBZero, kBias, kScale, kZero };

class IntegerMatmulKernel : public Kernel {
 public:
  // `excess`: of the panels of a constant B, where the kernel is narrow.
  IntegerMatmulKernel(const Problem& p, const Constants& constants, const GemmU8& kernel, const Linear& linear, Excess excess)
      : operands_(p, constants, Layout::nchw), kernel_(kernel), linear_(linear), end_(p.out[0].dtype), a_type_(p.in[0].dtype),
        b_type_(p.in[1].dtype), constant_(p.in[1].constant), excess_(std::move(excess)) {
    for (size_t i = 0; i < 7; ++i) has_[i] = p.has(i);
    const Operand a{nullptr, p.in[0].shape.data(), static_cast<int>(p.in[0].shape.size()), Layout::plain};
    const Operand b{constants[1].data, p.in[1].shape.data(), static_cast<int>(p.in[1].shape.size()), Layout::plain};
    const Matrices m(a, b);
    const WordsU8 w(kernel, m.depth);
    const int64_t panels = divide_up(m.columns, kernel.columns), all = m.b_matrices * panels;
    const int64_t panel_bytes = w.words * kernel.columns * 4;
    panels_ = std::max<int64_t>(1, std::min(panels, std::min(kBlockBytes / std::max<int64_t>(panel_bytes, 1), int64_t{32})));
    if (constant_) {
      const std::string key = "integer/" + std::to_string(kernel.group) + "/" + std::to_string(kernel.columns) + "/" +
                              std::to_string(w.words) + "/" + std::to_string(m.columns) + "/" + text(b_type_) +
                              (kernel.narrow ? "/narrow" : "");
      packed_ = shared_packing(constants[1].id, key, [&] {
        Buffer packed(static_cast<size_t>(round_up(all * panel_bytes, 64) + all * kernel.columns * 4));
        parallel_for(all, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) {
            pack(b.as<uint8_t>(), m, w, panels, i, packed.as<char>(), sums_of(packed.as<char>(), all * panel_bytes));
            if (kernel.narrow) excess_.take_out(i, packed.as<int8_t>() + i * panel_bytes, kernel.columns);
          }
        });
        return packed;
      });
    } else {
      b_bytes_ = round_up(round_up(all * panel_bytes, 64) + all * kernel.columns * 4, 64);
    }
    symmetric_ = is_signed(b_type_) && (!has_[kBZero] || all_zero(p, constants));
    terms_bytes_ = round_up(all * kernel.columns * 4, 64);
    const int64_t row_bytes = round_up(w.words * 4, 64) + 64;
    areas_ = {round_up(kernel.rows * 8, 64) + round_up(kernel.rows * 4, 64) + kernel.rows * row_bytes +
                  round_up(kernel.rows * panels_ * kernel.columns * 4, 64),
              p.threads};
  }

  int64_t phases() const override { return 2; }
  bool open(size_t, size_t) const override { return true; }
  size_t workspace_bytes() const override { return static_cast<size_t>(b_bytes_ + 3 * terms_bytes_) + areas_.total(); }
  size_t packed_bytes() const override { return packed_ ? packed_->bytes() : 0; }

  int run(const Context& c) noexcept override {
    const Operand a = operands_.in(kA, c), b = operands_.in(kB, c);
    const Matrices m(a, b);
    const WordsU8 w(kernel_, m.depth);
    const int64_t tile = kernel_.columns, panels = divide_up(m.columns, tile), all = m.b_matrices * panels;
    const int64_t panel_bytes = w.words * tile * 4;
    auto* own = static_cast<char*>(c.workspace);
    char* to = constant_ ? nullptr : own;
    const char* packed = constant_ ? packed_->as<char>() : own;
    const auto* sums = reinterpret_cast<const int32_t*>(packed + round_up(all * panel_bytes, 64));
    auto* starts = reinterpret_cast<int32_t*>(own + b_bytes_);
    auto* totals = reinterpret_cast<int32_t*>(own + b_bytes_ + terms_bytes_);
    auto* zeros = reinterpret_cast<int32_t*>(own + b_bytes_ + 2 * terms_bytes_);
    const void* a_zero = has_[kAZero] ? operands_.in(kAZero, c).data : nullptr;
    const int64_t a_zeros = has_[kAZero] ? operands_.in(kAZero, c).count() : 1;
    if (c.team.phase == 0) {
      const int32_t point = a_zeros == 1 ? a_point(a_zero, 0) : 0;
      const void* b_zero = has_[kBZero] ? operands_.in(kBZero, c).data : nullptr;
      const int64_t b_zeros = has_[kBZero] ? operands_.in(kBZero, c).count() : 1;
      const auto* bias = has_[kBias] ? operands_.in(kBias, c).as<int32_t>() : nullptr;
      c.team.each(all, std::max<int64_t>(1, all / (8 * c.team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          if (to) pack(b.as<uint8_t>(), m, w, panels, i, to, sums_of(to, all * panel_bytes));
          const int64_t matrix = i / panels, column = (i - matrix * panels) * tile;
          for (int64_t j = 0; j < tile; ++j) {
            const int64_t at = i * tile + j, n = column + j;
            if (n >= m.columns) {
              starts[at] = totals[at] = zeros[at] = 0;
              continue;
            }
            const int32_t zero = b_zero ? moved_point(b_zero, b_type_, b_zeros == 1 ? 0 : b_zeros == m.columns ? n
                                                                                         : matrix * m.columns + n, true)
                                        : (is_signed(b_type_) ? 0 : -128);
            const uint32_t total = static_cast<uint32_t>(sums[at]) - static_cast<uint32_t>(m.depth) * static_cast<uint32_t>(zero);
            zeros[at] = zero;
            totals[at] = static_cast<int32_t>(total);
            starts[at] = static_cast<int32_t>((bias ? static_cast<uint32_t>(bias[n]) : 0u) - static_cast<uint32_t>(point) * total);
          }
        }
      });
      return 0;
    }
    const int64_t row_tiles = divide_up(m.rows, kernel_.rows), blocks = blocks_of(panels, row_tiles * m.batch, c.team.count);
    const int64_t per_block = divide_up(panels, blocks), pieces = m.batch * blocks * row_tiles;
    const Run run{c, m, w, packed, starts, totals, zeros, a.as<uint8_t>(), a_zero, a_zeros, panel_bytes, per_block};
    char* area = areas_.own<char>(own + b_bytes_ + 3 * terms_bytes_, c.team);
    c.team.each(pieces, std::max<int64_t>(1, pieces / (8 * c.team.count)), [&](int64_t first, int64_t last) {
      const EvenParts tiles(m.rows, row_tiles);
      const int64_t most = divide_up(m.rows, row_tiles);
      if (kernel_.open) kernel_.open(most, w.step);
      for (int64_t i = first; i < last; ++i) {
        const int64_t n = i / (blocks * row_tiles), rest = i - n * blocks * row_tiles, block = rest / row_tiles;
        if (block * per_block < panels) tile_of(run, n, block, tiles[rest - block * row_tiles], most, area);
      }
      if (kernel_.close) kernel_.close();
    });
    return 0;
  }

 private:
  struct Run {
    const Context& c;
    const Matrices& m;
    const WordsU8& w;
    const char* packed;
    const int32_t *starts, *totals, *zeros;
    const uint8_t* a;
    const void* a_zero;
    int64_t a_zeros, panel_bytes, per_block;
  };

  static bool all_zero(const Problem& p, const Constants& constants) {
    if (!p.in[kBZero].constant) return false;
    const auto* points = constants[kBZero].as<uint8_t>();
    for (int64_t i = 0; i < p.in[kBZero].count(); ++i)
      if (points[i] != 0) return false;
    return true;
  }
  static int32_t* sums_of(char* packed, int64_t bytes) { return reinterpret_cast<int32_t*>(packed + round_up(bytes, 64)); }
  int32_t a_point(const void* points, int64_t i) const noexcept {
    return points ? moved_point(points, a_type_, i, false) : (is_signed(a_type_) ? 128 : 0);
  }
  // Blocks of panels: few enough to stay in a cache, and some for every thread where there are few rows.
  int64_t blocks_of(int64_t panels, int64_t tiles, int64_t threads) const noexcept {
    const int64_t wanted = divide_up(4 * threads, std::max<int64_t>(tiles, 1));
    return std::clamp<int64_t>(std::max(divide_up(panels, panels_), wanted), 1, panels);
  }

  void pack(const uint8_t* b, const Matrices& m, const WordsU8& w, int64_t panels, int64_t i, char* to, int32_t* sums) const noexcept {
    const int64_t tile = kernel_.columns, bytes = w.words * tile * 4, matrix = i / panels, column = (i - matrix * panels) * tile;
    const int64_t width = std::min(tile, m.columns - column);
    std::memset(to + i * bytes, 0, static_cast<size_t>(bytes));
    std::memset(sums + i * tile, 0, static_cast<size_t>(tile) * 4);
    const auto pack = kernel_.group == 2 ? pack_integers<2> : pack_integers<4>;
    pack(b + matrix * m.depth * m.columns + column, m.depth, m.columns, 1, width, tile, is_signed(b_type_) ? 0 : 128, to + i * bytes,
         sums + i * tile);
  }

  void tile_of(const Run& r, int64_t n, int64_t block, EvenParts::Part rows, int64_t most, char* area) const noexcept {
    const Matrices& m = r.m;
    const auto [a_matrix, b_matrix] = m.operands(n);
    const int64_t tile = kernel_.columns, panels = divide_up(m.columns, tile);
    const int64_t first_panel = block * r.per_block, last_panel = std::min(panels, first_panel + r.per_block);
    const int64_t first = first_panel * tile, columns = std::min(last_panel * tile, m.columns) - first;
    const int64_t row_bytes = round_up(r.w.words * 4, 64) + 64, at = (b_matrix * panels + first_panel) * tile;
    const auto** pointers = reinterpret_cast<const void**>(area);
    auto* row_sums = reinterpret_cast<int32_t*>(area + round_up(kernel_.rows * 8, 64));
    char* staged = area + round_up(kernel_.rows * 8, 64) + round_up(kernel_.rows * 4, 64);
    auto* sums = reinterpret_cast<int32_t*>(staged + kernel_.rows * row_bytes);
    const int64_t a_row = a_matrix * m.one_rows() + rows.first;
    for (int64_t i = 0; i < kernel_.rows; ++i) {
      pointers[i] = staged + std::min(i, rows.count - 1) * row_bytes;
      if (i < rows.count)
        row_sums[i] = stage_integers(r.a + (a_row + i) * m.depth, m.depth, is_signed(a_type_) ? 128 : 0, kernel_.group, r.w.words,
                                     staged + i * row_bytes);
    }
    GemmU8Args args{};
    args.a = pointers;
    args.b = r.packed + (b_matrix * panels + first_panel) * r.panel_bytes;
    args.start = r.starts + at;
    args.sums = sums;
    args.taps = 1;
    args.words = r.w.words;
    args.step = r.w.step;
    args.rows = rows.count;
    args.columns = columns;
    args.tile_rows = most;
    args.c_row = round_up(columns, tile);
    kernel_.run(&args);
    if (kernel_.narrow)
      for (int64_t panel = first_panel; panel < last_panel; ++panel)
        excess_.add(b_matrix * panels + panel, pointers, rows.count, sums + (panel - first_panel) * tile, args.c_row);
    SumsArgs end{};
    end.zeros = symmetric_ ? nullptr : r.zeros + at;
    end.totals = r.a_zeros == 1 ? nullptr : r.totals + at;
    end.bytes = end_.bytes();
    end.zero = end_.zero(has_[kZero] ? operands_.in(kZero, r.c).data : nullptr);
    end.low = end_.low, end.high = end_.high;
    for (int64_t i = 0; i < rows.count; ++i) {
      const int64_t row = n * m.rows + rows.first + i;  // of the result
      end.sums = sums + i * args.c_row;
      end.row_sum = row_sums[i];
      if (r.a_zeros != 1) end.row_zero = a_point(r.a_zero, r.a_zeros == m.one_rows() ? (a_row + i) % m.one_rows() : a_row + i);
      if (has_[kScale]) scale_of(operands_.in(kScale, r.c), m, row, first, end);
      linear_.finish(&end, static_cast<char*>(r.c.out[0]) + (row * m.columns + first) * end_.width(), columns);
    }
  }

  // A scale for all, for each column, for each row, or for each element.
  static void scale_of(const Operand& scale, const Matrices& m, int64_t row, int64_t first, SumsArgs& end) noexcept {
    const int64_t count = scale.count();
    const auto* s = scale.as<float>();
    const bool columns = scale.rank > 0 && scale.size[scale.rank - 1] == m.columns && m.columns != 1;
    end.each = columns;
    if (count == 1) end.scale = s, end.each = false;
    else if (columns && count == m.columns) end.scale = s + first;
    else if (columns) end.scale = s + (count == m.one_rows() * m.columns ? row % m.one_rows() : row) * m.columns + first;
    else end.scale = s + (count == m.one_rows() ? row % m.one_rows() : row);
  }

  RunOperands operands_;
  const GemmU8& kernel_;
  const Linear& linear_;
  SumsEnd end_;
  DType a_type_, b_type_;
  bool constant_, symmetric_ = false;  // symmetric: no zero point of b is anything but 0
  bool has_[7];
  Excess excess_;
  int64_t panels_ = 1, b_bytes_ = 0, terms_bytes_ = 0;
  std::shared_ptr<const Buffer> packed_;
  ThreadAreas areas_;
};

class IntegerMatmul : public AnyRoutine, public Estimating {
 public:
  IntegerMatmul() : AnyRoutine("matmul_integer", "gemm") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() < 2 || p.in[0].shape.empty() || p.in[1].shape.empty()) return Verdict::no("a and b are not two arrays");
    if (p.in[0].constant) return Verdict::no("a is a constant");
    if (std::max(p.in[0].shape.size(), p.in[1].shape.size()) > kMostRankHere) return Verdict::no("the rank is more than 10");
    if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
    const Operand a{nullptr, p.in[0].shape.data(), static_cast<int>(p.in[0].shape.size()), Layout::plain};
    const Operand b{nullptr, p.in[1].shape.data(), static_cast<int>(p.in[1].shape.size()), Layout::plain};
    const Matrices m(a, b);
    const bool vectors = a.rank == 1 || b.rank == 1;
    const auto count = [&](size_t i) { return p.has(i) ? p.in[i].count() : 1; };
    if (count(kAZero) != 1 && (vectors || (count(kAZero) != m.one_rows() && count(kAZero) != m.a_rows)))
      return Verdict::no("zero points of a that are neither one nor one per row");
    if (count(kBZero) != 1 && count(kBZero) != m.columns && count(kBZero) != m.b_matrices * m.columns)
      return Verdict::no("zero points of b that are neither one nor one per column");
    return scales(p, m, count(kScale), vectors);
  }
  // Of a constant B those first that add pairs of products up in 16 bits, where the tier has no better ones.
  std::vector<std::string> variants(const Problem& p) const override {
    std::vector<std::string> names;
    if (p.in[1].constant)
      for (const std::string& name : gemm_u8_variants(Act::clip))
        if (gemm_u8_kernel(name).narrow) names.push_back(name);
    for (const std::string& name : integer_variants(true)) names.push_back(name);
    return names;
  }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Operand a{nullptr, p.in[0].shape.data(), static_cast<int>(p.in[0].shape.size()), Layout::plain};
    const Operand b{nullptr, p.in[1].shape.data(), static_cast<int>(p.in[1].shape.size()), Layout::plain};
    const Matrices m(a, b);
    Estimate e = product_u8_estimate({.rows = m.rows, .depth = m.depth, .columns = m.columns, .count = m.batch}, variant);
    // Rows are staged and added up for every block of columns.
    const auto number = [](int64_t n) { return static_cast<double>(n); };
    e.work += kStaged * number(m.batch * m.rows * m.depth) + kEnd * number(m.batch * m.rows * m.columns);
    e.work += kColumn * number(m.b_matrices * m.columns) + kRow * number(m.batch * m.rows);
    if (!p.in[1].constant) {
      const double bytes = number(m.b_matrices * m.depth * m.columns);
      e.constants = 0;
      e.work += kPacked * bytes;
      e.move(2 * bytes, bytes);
      e.phases = 2;  // of a constant b the first phase is over at once
    }
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    const GemmU8* kernel = &gemm_u8_kernel(variant);
    Excess excess;
    if (kernel->narrow) {
      const Operand a{nullptr, p.in[0].shape.data(), static_cast<int>(p.in[0].shape.size()), Layout::plain};
      const Operand b{nullptr, p.in[1].shape.data(), static_cast<int>(p.in[1].shape.size()), Layout::plain};
      const Matrices m(a, b);
      excess = Excess(constants[1].as<uint8_t>(), m.b_matrices, m.depth, m.columns, kernel->columns,
                      is_signed(p.in[1].dtype) ? 0 : 128);
      if (excess.many()) {  // wider products are quicker
        kernel = &gemm_u8_kernel(integer_variants(true).front());
        excess = {};
      }
    }
    return std::make_unique<IntegerMatmulKernel>(p, constants, *kernel, best_ukernel<Linear>(PW_KIND_LINEAR), std::move(excess));
  }

 private:
  // Operations of bytes that staging one takes, packing one, ending a sum, and what a column and a row begin with.
  static constexpr double kStaged = 8, kPacked = 60, kEnd = 100, kColumn = 3000, kRow = 10000;

  Verdict scales(const Problem& p, const Matrices& m, int64_t count, bool vectors) const {
    if (count == 1) return basics(p);
    const Dims& shape = p.in[kScale].shape;
    const int64_t rows = p.out[0].count() / m.columns, last = shape.back();
    const bool columns = last == m.columns && count == m.columns;
    const bool row = last == 1 && (count == m.one_rows() || count == rows);
    const bool full = last == m.columns && (count == m.one_rows() * m.columns || count == rows * m.columns);
    if (vectors ? !(p.in[1].shape.size() > 1 && columns) : !(columns || row || full))
      return Verdict::no("scales that are neither one, nor one per row or column or element");
    return basics(p);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<IntegerMatmul>(); }
}  // namespace PW_COLLECT
}  // namespace pw
