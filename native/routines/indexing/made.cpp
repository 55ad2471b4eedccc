// Values that are made from sizes and numbers: shape, constant_of_shape, range.
#include <cstring>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

class ShapeKernel : public AnyKernel {
 public:
  explicit ShapeKernel(const Problem& p) : AnyKernel(p, Constants(p.in.size()), Layout::nchw) {
    const auto rank = static_cast<int64_t>(p.in[0].shape.size()), start = p.integer("start");
    start_ = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
    count_ = p.out[0].shape[0];
  }
  // The sizes themselves may be any; how many there are is fixed.
  bool open(size_t port, size_t) const override { return port == 0; }
  int run(const Context& c) noexcept override {
    c.team.each(1, 1, [&](int64_t, int64_t) {
      std::copy(c.in_sizes[0] + start_, c.in_sizes[0] + start_ + count_, static_cast<int64_t*>(c.out[0]));
    });
    return 0;
  }

 private:
  int64_t start_, count_;
};

class ShapeRoutine : public AnyRoutine {
 public:
  ShapeRoutine() : AnyRoutine("shape", "sizes") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1) return Verdict::no("it takes one value");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<ShapeKernel>(p);
  }
};

class FillKernel : public AnyKernel {
 public:
  explicit FillKernel(const Problem& p) : AnyKernel(p, {}, Layout::nchw), bytes_(size_of(p.out[0].dtype)) {
    store_number(p.out[0].dtype, p.word("value"), value_);
  }
  int run(const Context& c) noexcept override {
    const int64_t n = operands_.out(0, c).count();
    with_bytes(bytes_, [&](auto unit) {
      decltype(unit) value;
      std::memcpy(&value, value_, sizeof value);
      auto* y = static_cast<decltype(unit)*>(c.out[0]);
      in_pieces(c.team, n, 1024, n, [&](int64_t first, int64_t last) { std::fill(y + first, y + last, value); });
    });
    return 0;
  }

 private:
  size_t bytes_;
  alignas(8) unsigned char value_[8] = {};
};

class Fill : public AnyRoutine {
 public:
  Fill() : AnyRoutine("constant_of_shape", "fill") {}
  Verdict accepts(const Problem& p) const override {
    return p.in.empty() || !p.in[0].present ? basics(p, true) : Verdict::no("its shape comes from an input");
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<FillKernel>(p);
  }
};

// start + i * delta: of integers in 64 bits, of others in double, rounded once.
class RangeKernel : public AnyKernel {
 public:
  explicit RangeKernel(const Problem& p) : AnyKernel(p, {}, Layout::nchw), dtype_(p.out[0].dtype) {
    const auto word = [&](const char* name) { return std::string(p.word(name)); };
    const auto whole = [](const std::string& text) { return text.find_first_not_of("+-0123456789") == std::string::npos; };
    const std::string start = word("start"), delta = word("delta");
    start_ = std::strtod(start.c_str(), nullptr);
    delta_ = std::strtod(delta.c_str(), nullptr);
    whole_ = whole(start) && whole(delta);
    whole_start_ = std::strtoll(start.c_str(), nullptr, 10);
    whole_delta_ = std::strtoll(delta.c_str(), nullptr, 10);
  }
  int run(const Context& c) noexcept override {
    const int64_t n = c.out_sizes[0][0];
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* y = static_cast<T*>(c.out[0]);
      in_pieces(c.team, n, 1024, n, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          if constexpr (std::is_integral_v<T>) {
            if (whole_) {
              // In unsigned numbers, which may wrap.
              y[i] = static_cast<T>(static_cast<uint64_t>(whole_start_) +
                                    static_cast<uint64_t>(i) * static_cast<uint64_t>(whole_delta_));
              continue;
            }
          }
          y[i] = number_as<T>(start_ + static_cast<double>(i) * delta_);
        }
      });
    });
    return 0;
  }

 private:
  DType dtype_;
  double start_, delta_;
  bool whole_;
  int64_t whole_start_, whole_delta_;
};

class RangeRoutine : public AnyRoutine {
 public:
  RangeRoutine() : AnyRoutine("range", "steps") {}
  Verdict accepts(const Problem& p) const override {
    for (const Tensor& t : p.in)
      if (t.present) return Verdict::no("its numbers come from inputs");
    return basics(p, true);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<RangeKernel>(p);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<ShapeRoutine>();
  c.add<Fill>();
  c.add<RangeRoutine>();
}
}  // namespace PW_COLLECT

}  // namespace pw
