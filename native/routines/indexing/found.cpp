// Values of which a run finds out how many there are: nonzero.
#include <cstring>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

template <class T>
bool is_something(const T& x) {
  if constexpr (kHalf<T>) return (x.bits & 0x7fffu) != 0;
  else return x != T{};
}

// Indices of the elements that are not 0, an axis after the other, by one thread: how many there are is known first.
class NonZeroKernel : public PieceKernel {
 public:
  explicit NonZeroKernel(const Problem& p) : dtype_(p.in[0].dtype), rank_(p.in[0].shape.size()) {}
  bool open(size_t, size_t) const override { return true; }
  int run(const Context& c) noexcept override {
    int code = 0;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      with_type(dtype_, [&](auto tag) { code = find<typename decltype(tag)::type>(c); });
    });
    return code;
  }

 private:
  template <class T>
  int find(const Context& c) const noexcept {
    const T* x = static_cast<const T*>(c.in[0]);
    int64_t n = 1, found = 0;
    for (size_t axis = 0; axis < rank_; ++axis) n *= c.in_sizes[0][axis];
    for (int64_t i = 0; i < n; ++i) found += is_something(x[i]);
    const auto rows = static_cast<int64_t>(std::max<size_t>(1, rank_));
    void* memory = c.out[0] ? c.out[0] : c.raw->take(c.raw, 0, static_cast<uint64_t>(found * rows) * 8);
    if (!memory) return kNoRoom;
    auto* y = static_cast<int64_t*>(memory);
    int64_t at[kMostRank] = {}, k = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (is_something(x[i])) {
        for (int64_t axis = 0; axis < rows; ++axis) y[axis * found + k] = at[axis];
        ++k;
      }
      for (size_t axis = rank_; axis-- > 0;) {
        if (++at[axis] < c.in_sizes[0][axis]) break;
        at[axis] = 0;
      }
    }
    c.out_sizes[0][0] = rows;
    c.out_sizes[0][1] = found;
    return 0;
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
