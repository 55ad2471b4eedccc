// onehot, trilu, eye_like, reverse_sequence and compress, of any element type.
#include <cstring>

#include "values/found.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

// An element as an index; what is none, or far away, as one that no axis has.
template <class T>
int64_t index_of(T x) noexcept {
  if constexpr (kHalf<T>) return index_of(as_float(x));
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<int64_t>(x);
  else if constexpr (std::is_same_v<T, uint64_t>) return x > uint64_t{1} << 62 ? INT64_MAX : static_cast<int64_t>(x);
  else if constexpr (std::is_integral_v<T>) return static_cast<int64_t>(x);
  else return x > T{-4e18} && x < T{4e18} ? static_cast<int64_t>(x) : INT64_MAX;
}

// One number of any type, read in a run.
int64_t number_of(const Operand& x, DType dtype) noexcept {
  return with_type(dtype, [&](auto tag) { return index_of(*x.as<typename decltype(tag)::type>()); });
}

// The first phase finds the depth and takes memory, where that is a value; pieces of the second one are rows behind the axis.
class OneHotKernel : public AnyKernel {
 public:
  OneHotKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(static_cast<int>(p.integer("axis"))), index_(p.in[0].dtype),
        given_(p.has(1)), depth_type_(given_ ? p.in[1].dtype : DType::i64), bytes_(size_of(p.out[0].dtype)) {
    if (axis_ < 0) axis_ += static_cast<int>(p.out[0].shape.size());
  }
  int64_t phases() const override { return given_ ? 2 : 1; }
  size_t workspace_bytes() const override { return given_ ? sizeof(void*) : 0; }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    auto** place = static_cast<void**>(c.workspace);
    if (given_ && c.team.phase == 0) {
      int code = 0;
      c.team.each(1, 1, [&](int64_t, int64_t) {
        int64_t sizes[kMostRank];
        for (int i = 0; i <= x.rank; ++i) sizes[i] = i == axis_ ? 0 : x.size[i < axis_ ? i : i - 1];
        sizes[axis_] = number_of(operands_.in(1, c), depth_type_);
        *place = found_output(c, 0, sizes, x.rank + 1, bytes_, code);
      });
      return code;
    }
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis_; ++i) outer *= x.size[i];
    for (int i = axis_; i < x.rank; ++i) inner *= x.size[i];
    with_type(index_, [&](auto tag) {
      with_bytes(bytes_, [&](auto unit) {
        fill(x.as<typename decltype(tag)::type>(), operands_.in(2, c).template as<decltype(unit)>(), outer, inner, c,
             given_ ? place : nullptr);
      });
    });
    return 0;
  }

 private:
  template <class Index, class T>
  void fill(const Index* at, const T* values, int64_t outer, int64_t inner, const Context& c,
            void* const* place) const noexcept {
    const int64_t depth = c.out_sizes[0][axis_], rows = outer * depth;
    in_pieces(c.team, rows, 1, rows * inner, [&](int64_t first, int64_t last) {
      T* y = static_cast<T*>(place ? *place : c.out[0]);
      if (!y) return;
      const T off = values[0], on = values[1];
      if (inner == 1) {
        std::fill(y + first, y + last, off);
        for (int64_t o = first / depth; o * depth < last; ++o) {
          int64_t i = index_of(at[o]);
          i += i < 0 ? depth : 0;
          if (i >= 0 && i < depth && o * depth + i >= first && o * depth + i < last) y[o * depth + i] = on;
        }
        return;
      }
      for (int64_t r = first; r < last; ++r) {
        const int64_t o = r / depth, d = r - o * depth, negative = d - depth;
        const Index* row = at + o * inner;
        for (int64_t j = 0; j < inner; ++j) {
          const int64_t i = index_of(row[j]);
          y[r * inner + j] = i == d || i == negative ? on : off;
        }
      }
    });
  }

  int axis_;
  DType index_;
  bool given_;
  DType depth_type_;
  size_t bytes_;
};

class OneHot : public AnyRoutine {
 public:
  OneHot() : AnyRoutine("onehot", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 3) return Verdict::no("it takes indices, a depth and values");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<OneHotKernel>(p, constants);
  }
};

class TriluKernel : public AnyKernel {
 public:
  TriluKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), given_(p.has(1)), given_type_(given_ ? p.in[1].dtype : DType::i64),
        k_(given_ ? 0 : p.integer("k")), upper_(p.integer("upper") != 0), bytes_(size_of(p.in[0].dtype)) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const int64_t rows = x.size[x.rank - 2], columns = x.size[x.rank - 1], all = columns ? x.count() / columns : 0;
    const auto* from = x.as<char>();
    auto* to = static_cast<char*>(c.out[0]);
    const auto unit = static_cast<int64_t>(bytes_);
    const int64_t grain = std::max<int64_t>(1, 1024 / std::max<int64_t>(1, columns));
    in_pieces(c.team, all, grain, x.count(), [&](int64_t first, int64_t last) {
      int64_t k = given_ ? number_of(operands_.in(1, c), given_type_) : k_;
      k = std::clamp<int64_t>(k, -rows, columns);
      for (int64_t r = first; r < last; ++r) {
        // The first column on the diagonal or behind it, for a lower part the first one behind.
        const int64_t split = std::clamp<int64_t>(r % rows + k + (upper_ ? 0 : 1), 0, columns);
        const int64_t a = upper_ ? split : 0, b = upper_ ? columns : split;
        char* y = to + r * columns * unit;
        std::memset(y, 0, static_cast<size_t>(a * unit));
        if (from != to) std::memcpy(y + a * unit, from + (r * columns + a) * unit, static_cast<size_t>((b - a) * unit));
        std::memset(y + b * unit, 0, static_cast<size_t>((columns - b) * unit));
      }
    });
    return 0;
  }

 private:
  bool given_;
  DType given_type_;
  int64_t k_;
  bool upper_;
  size_t bytes_;
};

class Trilu : public AnyRoutine {
 public:
  Trilu() : AnyRoutine("trilu", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || p.in.size() > 2) return Verdict::no("it takes a value and a diagonal");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in[0].shape.size() < 2) return Verdict::no("the value has no rows and columns");
    if (p.has(1) && p.in[1].count() != 1) return Verdict::no("the diagonal is not one number");
    return basics(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    if (!p.in[0].constant) ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TriluKernel>(p, constants);
  }
};

class EyeKernel : public AnyKernel {
 public:
  explicit EyeKernel(const Problem& p)
      : AnyKernel(p, Constants(p.in.size()), Layout::nchw), k_(p.integer("k")), bytes_(size_of(p.out[0].dtype)) {
    store_number(p.out[0].dtype, "1", one_);
  }
  int run(const Context& c) noexcept override {
    const int64_t rows = c.out_sizes[0][0], columns = c.out_sizes[0][1];
    with_bytes(bytes_, [&](auto unit) {
      using T = decltype(unit);
      T one;
      std::memcpy(&one, one_, sizeof one);
      auto* y = static_cast<T*>(c.out[0]);
      const int64_t k = std::clamp<int64_t>(k_, -rows, columns);
      in_pieces(c.team, rows, std::max<int64_t>(1, 1024 / std::max<int64_t>(1, columns)), rows * columns,
                [&](int64_t first, int64_t last) {
                  std::memset(y + first * columns, 0, static_cast<size_t>((last - first) * columns) * sizeof(T));
                  for (int64_t r = first; r < last; ++r)
                    if (r + k >= 0 && r + k < columns) y[r * columns + r + k] = one;
                });
    });
    return 0;
  }

 private:
  int64_t k_;
  size_t bytes_;
  alignas(8) unsigned char one_[8] = {};
};

class Eye : public AnyRoutine {
 public:
  Eye() : AnyRoutine("eye_like", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1) return Verdict::no("it takes one value");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<EyeKernel>(p);
  }
};

// Rows behind both axes are copied.
class ReverseKernel : public AnyKernel {
 public:
  ReverseKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), batch_first_(p.integer("batch_axis") == 0), bytes_(size_of(p.in[0].dtype)) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), lengths = operands_.in(1, c);
    int64_t row = static_cast<int64_t>(bytes_);
    for (int i = 2; i < x.rank; ++i) row *= x.size[i];
    const int64_t steps = x.size[batch_first_ ? 1 : 0], batches = x.size[batch_first_ ? 0 : 1];
    const int64_t rows = steps * batches, columns = x.size[1];
    bool outside = false;
    const int64_t grain = std::max<int64_t>(1, 1024 / std::max<int64_t>(1, row));
    in_pieces(c.team, rows, grain, rows * row / 4, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int64_t i = r / columns, j = r - i * columns, b = batch_first_ ? i : j, t = batch_first_ ? j : i;
        const int64_t n = lengths.as<int64_t>()[b];
        if (n < 0 || n > steps) { outside = true; continue; }
        const int64_t s = t < n ? n - 1 - t : t, from = batch_first_ ? b * steps + s : s * batches + b;
        std::memcpy(static_cast<char*>(c.out[0]) + r * row, x.as<char>() + from * row, static_cast<size_t>(row));
      }
    });
    return outside ? kOutside : 0;
  }

 private:
  bool batch_first_;
  size_t bytes_;
};

class Reverse : public AnyRoutine {
 public:
  Reverse() : AnyRoutine("reverse_sequence", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 2) return Verdict::no("it takes a value and lengths");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<ReverseKernel>(p, constants);
  }
};

// The first phase finds which slices there are and takes memory; the second one copies them.
class CompressKernel : public AnyKernel {
 public:
  CompressKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), flat_(p.integers("axis").empty()),
        axis_(flat_ ? 0 : static_cast<int>(p.integer("axis"))), bytes_(size_of(p.in[0].dtype)), most_(p.in[1].count()) {
    if (axis_ < 0) axis_ += static_cast<int>(p.in[0].shape.size());
  }
  int64_t phases() const override { return 2; }
  // The place of the output, the number of slices, and which they are.
  size_t workspace_bytes() const override { return static_cast<size_t>(most_ + 2) * 8; }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), condition = operands_.in(1, c);
    int64_t outer = 1, length = 1, row = static_cast<int64_t>(bytes_);
    for (int i = 0; i < x.rank; ++i) (flat_ ? length : i < axis_ ? outer : i == axis_ ? length : row) *= x.size[i];
    auto* found = static_cast<int64_t*>(c.workspace);
    if (c.team.phase == 0) return find(c, x, condition, length, found);
    // How many there are is what the first phase has written: read in the pieces alone.
    c.team.each(outer * kParts, 1, [&](int64_t first, int64_t last) {
      auto* y = reinterpret_cast<char*>(static_cast<uintptr_t>(found[0]));
      const int64_t count = found[1];
      for (int64_t piece = first; piece < last; ++piece) {
        const int64_t o = piece / kParts, part = piece % kParts;
        int64_t k = count * part / kParts;
        const int64_t end = count * (part + 1) / kParts;
        if (row > 0 && row <= 8 && (row & (row - 1)) == 0) {
          with_bytes(static_cast<size_t>(row), [&](auto unit) {
            const auto* source = x.as<decltype(unit)>() + o * length;
            auto* target = reinterpret_cast<decltype(unit)*>(y) + o * count;
            for (; k < end; ++k) target[k] = source[found[2 + k]];
          });
        }
        while (k < end) {
          int64_t n = 1;  // slices that lie side by side
          while (k + n < end && found[2 + k + n] == found[2 + k] + n) ++n;
          std::memcpy(y + (o * count + k) * row, x.as<char>() + (o * length + found[2 + k]) * row,
                      static_cast<size_t>(n * row));
          k += n;
        }
      }
    });
    return 0;
  }

 private:
  static constexpr int64_t kParts = 16;

  int find(const Context& c, const Operand& x, const Operand& condition, int64_t length, int64_t* found) const noexcept {
    int code = 0;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      const auto* holds = condition.as<uint8_t>();
      int64_t count = 0;
      for (int64_t i = 0, n = std::min(length, condition.size[0]); i < n; ++i) {
        found[2 + count] = i;
        count += holds[i] != 0;
      }
      for (int64_t i = length; i < condition.size[0]; ++i) code = holds[i] ? kOutside : code;
      found[1] = 0;
      if (code) return;
      int64_t sizes[kMostRank] = {count};
      if (!flat_) {
        std::copy(x.size, x.size + x.rank, sizes);
        sizes[axis_] = count;
      }
      void* y = found_output(c, 0, sizes, flat_ ? 1 : x.rank, bytes_, code);
      found[0] = static_cast<int64_t>(reinterpret_cast<uintptr_t>(y));
      found[1] = y ? count : 0;
    });
    return code;
  }

  bool flat_;
  int axis_;
  size_t bytes_;
  int64_t most_;
};

class Compress : public AnyRoutine {
 public:
  Compress() : AnyRoutine("compress", "slices") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 2) return Verdict::no("it takes a value and a condition");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<CompressKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<OneHot>();
  c.add<Trilu>();
  c.add<Eye>();
  c.add<Reverse>();
  c.add<Compress>();
}
}  // namespace PW_COLLECT

}  // namespace pw
