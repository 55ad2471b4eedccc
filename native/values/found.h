// Outputs of which a run finds out how large they are.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/size.h"
#include "spi/failures.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {

// Memory for output `out` of these sizes, which become known: the place that it has, or as much as it takes. nullptr, and a
// code: kMisfit where one is negative or they are more than its bounds say, kNoRoom where there is no memory.
inline void* found_output(const Context& c, uint32_t out, const int64_t* sizes, int rank, size_t bytes, int& code) noexcept {
  int64_t all = static_cast<int64_t>(bytes);
  code = kMisfit;
  for (int i = 0; i < rank; ++i) {
    const int64_t bound = c.out_sizes[out][i];
    if (sizes[i] < 0 || sizes[i] > kMostSize || (bound >= 0 && sizes[i] > bound)) return nullptr;
    if (__builtin_mul_overflow(all, sizes[i], &all)) return nullptr;
  }
  code = all > kMostBytes ? kNoRoom : 0;
  if (code) return nullptr;
  for (int i = 0; i < rank; ++i) c.out_sizes[out][i] = sizes[i];
  static char nothing;
  if (c.out[out]) return c.out[out];
  void* y = c.raw && c.raw->take ? c.raw->take(c.raw, out, static_cast<uint64_t>(all)) : all == 0 ? &nothing : nullptr;
  code = y ? 0 : kNoRoom;
  return y;
}

// Whole numbers that a layer is given by an attribute, or by an input whose contents are there in the run.
class RunIntegers {
 public:
  // `input`: where they come from if it is present.
  RunIntegers(const Problem& p, size_t input, const char* attribute) : input_(input), given_(p.has(input)) {
    if (given_) dtype_ = p.in[input].dtype;
    else fixed_ = p.integers(attribute);
  }
  static Verdict accepts(const Problem& p, size_t input) {
    const bool fits = !p.has(input) || p.in[input].dtype == DType::i64 || p.in[input].dtype == DType::i32;
    return fits ? Verdict::ok() : Verdict::no("numbers that say sizes are neither i32 nor i64");
  }
  int64_t count(const RunOperands& operands, const Context& c) const noexcept {
    return given_ ? operands.in(input_, c).count() : static_cast<int64_t>(fixed_.size());
  }
  int64_t at(const RunOperands& operands, const Context& c, int64_t k) const noexcept {
    if (!given_) return fixed_[static_cast<size_t>(k)];
    const Operand x = operands.in(input_, c);
    return dtype_ == DType::i32 ? x.as<int32_t>()[k] : x.as<int64_t>()[k];
  }

 private:
  size_t input_;
  bool given_;
  DType dtype_ = DType::i64;
  std::vector<int64_t> fixed_;
};

// Base of kernels with one output whose sizes contents decide: the first phase finds them and takes memory, the second one
// writes. All that looks at contents lies in pieces, for a thread that comes late may find others there.
class FoundKernel : public AnyKernel {
 public:
  FoundKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), rank_(static_cast<int>(p.out[0].shape.size())),
        bytes_(size_of(p.out[0].dtype)) {}
  int64_t phases() const override { return 2; }
  size_t workspace_bytes() const override { return sizeof(void*); }
  int run(const Context& c) noexcept override {
    auto** place = static_cast<void**>(c.workspace);
    int code = 0;
    if (c.team.phase == 0) {
      c.team.each(1, 1, [&](int64_t, int64_t) {
        int64_t sizes[kMostRank];
        code = find(c, sizes);
        *place = code == 0 ? found_output(c, 0, sizes, rank_, bytes_, code) : nullptr;
      });
      return code;
    }
    c.team.each(kParts, 1, [&](int64_t first, int64_t last) {
      if (!*place) return;
      const int64_t all = operands_.out(0, c).count(), parts = all < kShared ? 1 : kParts;
      for (int64_t i = first; i < std::min(last, parts); ++i) write(c, *place, all * i / parts, all * (i + 1) / parts);
    });
    return 0;
  }

 protected:
  // The sizes of the output; 0, or why there are none.
  virtual int find(const Context& c, int64_t* sizes) const noexcept = 0;
  // Elements [first, last) of the output.
  virtual void write(const Context& c, void* y, int64_t first, int64_t last) const noexcept = 0;

  static constexpr int64_t kParts = 64;
  int rank_;
  size_t bytes_;
};

}  // namespace pw
