// Values of which a run finds out how many there are: nonzero.
#include <algorithm>
#include <cstring>

#include "values/found.h"

namespace pw {
namespace {

template <class T>
bool is_something(const T& x) {
  if constexpr (kHalf<T>) return (x.bits & 0x7fffu) != 0;
  else return x != T{};
}

// Indices of the elements that are not 0, an axis after the other. Each part of the value is counted, then all parts are known
// and there is memory, and each part writes its own.
class NonZeroKernel : public PieceKernel {
 public:
  explicit NonZeroKernel(const Problem& p) : dtype_(p.in[0].dtype), rank_(p.in[0].shape.size()) {}
  bool open(size_t, size_t) const override { return true; }
  int64_t phases() const override { return 3; }
  // Where each part begins in the output, how many there are, and the place of the output.
  size_t workspace_bytes() const override { return (kParts + 2) * sizeof(int64_t); }
  int run(const Context& c) noexcept override {
    auto* before = static_cast<int64_t*>(c.workspace);
    if (c.team.phase == 1) return take(c, before);
    int64_t n = 1;
    for (size_t axis = 0; axis < rank_; ++axis) n *= c.in_sizes[0][axis];
    const int64_t parts = n < kShared ? 1 : kParts;
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* x = static_cast<const T*>(c.in[0]);
      c.team.each(kParts, 1, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t from = i < parts ? n * i / parts : n, to = i < parts ? n * (i + 1) / parts : n;
          if (c.team.phase == 0) before[i] = count(x + from, to - from);
          else write(c, x, i, from, to, before);
        }
      });
    });
    return 0;
  }

 private:
  static constexpr int64_t kParts = 64, kBlock = 64;

  template <class T>
  static int64_t count(const T* x, int64_t n) noexcept {
    int64_t found = 0;
    for (int64_t i = 0; i < n; ++i) found += is_something(x[i]);
    return found;
  }
  // What the parts have become where each begins.
  int take(const Context& c, int64_t* before) const noexcept {
    int code = 0;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      int64_t found = 0;
      for (int64_t i = 0; i < kParts; ++i) {
        const int64_t n = before[i];
        before[i] = found;
        found += n;
      }
      const int64_t sizes[] = {static_cast<int64_t>(std::max<size_t>(1, rank_)), found};
      void* y = found_output(c, 0, sizes, 2, sizeof(int64_t), code);
      before[kParts] = y ? found : 0;
      before[kParts + 1] = static_cast<int64_t>(reinterpret_cast<uintptr_t>(y));
    });
    return code;
  }
  // The indices of elements [from, to), which are those of a part.
  template <class T>
  void write(const Context& c, const T* x, int64_t part, int64_t from, int64_t to, const int64_t* before) const noexcept {
    const int64_t found = before[kParts];
    auto* y = reinterpret_cast<int64_t*>(static_cast<uintptr_t>(before[kParts + 1]));
    if (!y || from >= to || found == 0) return;
    int64_t k = before[part];
    const int64_t end = part + 1 < kParts ? before[part + 1] : found;
    const auto rank = static_cast<int64_t>(std::max<size_t>(1, rank_));
    const int64_t row = rank_ ? c.in_sizes[0][rank_ - 1] : 1;
    int64_t at[kMostRank] = {}, rest = from;
    for (int64_t axis = rank; axis-- > 0 && rank_;) at[axis] = rest % c.in_sizes[0][axis], rest /= c.in_sizes[0][axis];
    int64_t* last = y + (rank - 1) * found;
    for (int64_t i = from; i < to && k < end;) {
      // What lies along the last axis, in blocks of which many have nothing.
      const int64_t stop = std::min({to, i + row - at[rank - 1], i + kBlock}), column = at[rank - 1] - i;
      if (count(x + i, stop - i) > 0) {
        const int64_t begin = k;
        for (int64_t j = i; j < stop && k < end; ++j) {
          last[k] = column + j;
          k += is_something(x[j]);
        }
        for (int64_t axis = 0; axis + 1 < rank; ++axis) std::fill(y + axis * found + begin, y + axis * found + k, at[axis]);
      }
      at[rank - 1] += stop - i;
      i = stop;
      for (int64_t axis = rank - 1; axis > 0 && at[axis] == c.in_sizes[0][axis]; --axis) at[axis] = 0, ++at[axis - 1];
    }
  }
  DType dtype_;
  size_t rank_;
};

class NonZero : public AnyRoutine {
 public:
  NonZero() : AnyRoutine("nonzero", "scan") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<NonZeroKernel>(p);
  }
};

// A constant that is a value: an output of a net, or of a block.
class ConstantKernel : public PieceKernel {
 public:
  ConstantKernel(const void* data, int64_t bytes) : data_(static_cast<const char*>(data)), bytes_(bytes) {}
  void run(const void* const*, void* const* out, void*, Team& team) noexcept override {
    in_pieces(team, bytes_, 4096, bytes_ / 4, [&](int64_t first, int64_t last) {
      std::memcpy(static_cast<char*>(out[0]) + first, data_ + first, static_cast<size_t>(last - first));
    });
  }

 private:
  const char* data_;
  int64_t bytes_;
};

class ConstantValue : public AnyRoutine {
 public:
  ConstantValue() : AnyRoutine("identity", "constant") {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in.size() != 1 || !p.in[0].constant) return Verdict::no("its input is no constant");
    return basics(p, true);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<ConstantKernel>(constants[0].data,
                                            p.out[0].count() * static_cast<int64_t>(size_of(p.out[0].dtype)));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<NonZero>();
  c.add<ConstantValue>();
}
}  // namespace PW_COLLECT

}  // namespace pw
