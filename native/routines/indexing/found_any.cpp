// constant_of_shape and range where the shape, or a number, is a value that is there in the run alone.
#include <cstring>

#include "values/found.h"

namespace pw {
namespace {

class FillKernel : public FoundKernel {
 public:
  FillKernel(const Problem& p, const Constants& constants) : FoundKernel(p, constants), shape_(p, 0, "shape") {
    store_number(p.out[0].dtype, p.word("value"), value_);
  }

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    if (shape_.count(operands_, c) != rank_) return kMisfit;
    for (int i = 0; i < rank_; ++i) sizes[i] = shape_.at(operands_, c, i);
    return 0;
  }
  void write(const Context&, void* to, int64_t first, int64_t last) const noexcept override {
    with_bytes(bytes_, [&](auto unit) {
      decltype(unit) value;
      std::memcpy(&value, value_, sizeof value);
      std::fill(static_cast<decltype(unit)*>(to) + first, static_cast<decltype(unit)*>(to) + last, value);
    });
  }

 private:
  RunIntegers shape_;
  alignas(8) unsigned char value_[8] = {};
};

class Fill : public AnyRoutine {
 public:
  Fill() : AnyRoutine("constant_of_shape", "found") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || !p.in[0].present) return Verdict::no("its shape is an attribute");
    if (auto verdict = RunIntegers::accepts(p, 0); !verdict) return verdict;
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<FillKernel>(p, constants);
  }
};

// start + i * delta: of integers in 64 bits, of others in double, rounded once.
class RangeKernel : public FoundKernel {
 public:
  RangeKernel(const Problem& p, const Constants& constants) : FoundKernel(p, constants), dtype_(p.out[0].dtype) {
    const char* names[] = {"start", "limit", "delta"};
    for (size_t i = 0; i < 3; ++i) {
      given_[i] = p.has(i);
      if (given_[i]) continue;
      const std::string word(p.word(names[i]));
      fixed_[i] = std::strtod(word.c_str(), nullptr);
      whole_[i] = std::strtoll(word.c_str(), nullptr, 10);
    }
  }

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    return with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_integral_v<T>) {
        // As wide as differences of any two numbers of 64 bits.
        const __int128 start = number<T>(c, 0), limit = number<T>(c, 1), delta = number<T>(c, 2);
        if (delta == 0) return kMisfit;
        const __int128 span = delta > 0 ? limit - start : start - limit, step = delta > 0 ? delta : -delta;
        const __int128 count = span <= 0 ? 0 : (span + step - 1) / step;
        sizes[0] = count > kMostSize ? -1 : static_cast<int64_t>(count);
      } else {
        const double count = std::ceil((real<T>(c, 1) - real<T>(c, 0)) / real<T>(c, 2));
        if (!(count < static_cast<double>(kMostSize))) return kMisfit;
        sizes[0] = count > 0 ? static_cast<int64_t>(count) : 0;
      }
      return 0;
    });
  }
  void write(const Context& c, void* to, int64_t first, int64_t last) const noexcept override {
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* y = static_cast<T*>(to);
      if constexpr (std::is_integral_v<T>) {
        const auto start = static_cast<uint64_t>(number<T>(c, 0)), delta = static_cast<uint64_t>(number<T>(c, 2));
        for (int64_t i = first; i < last; ++i) y[i] = static_cast<T>(start + static_cast<uint64_t>(i) * delta);
      } else {
        const double start = real<T>(c, 0), delta = real<T>(c, 2);
        for (int64_t i = first; i < last; ++i) y[i] = number_as<T>(start + static_cast<double>(i) * delta);
      }
    });
  }

 private:
  template <class T>
  T number(const Context& c, size_t i) const noexcept {
    return given_[i] ? *operands_.in(i, c).as<T>() : static_cast<T>(whole_[i]);
  }
  template <class T>
  double real(const Context& c, size_t i) const noexcept {
    if (!given_[i]) return fixed_[i];
    const T value = *operands_.in(i, c).as<T>();
    if constexpr (kHalf<T>) return static_cast<double>(as_float(value));
    else return static_cast<double>(value);
  }

  DType dtype_;
  bool given_[3] = {};
  double fixed_[3] = {};
  int64_t whole_[3] = {};
};

class Range : public AnyRoutine {
 public:
  Range() : AnyRoutine("range", "found") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() > 3 || p.dynamic().empty()) return Verdict::no("its numbers are attributes");
    for (const Tensor& t : p.in)
      if (t.present && (t.dtype != p.out[0].dtype || t.count() != 1))
        return Verdict::no("an input is not one number of the output's type");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<RangeKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Fill>();
  c.add<Range>();
}
}  // namespace PW_COLLECT

}  // namespace pw
