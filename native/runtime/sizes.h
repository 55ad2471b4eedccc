// Sizes that are known when a plan runs: expressions of symbols, each computed from earlier ones.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace pw {

// The plan does not do for the sizes of a run; another one may.
struct Unfit : Error {
  using Error::Error;
};

// number: a. symbol: between a and b, set by the caller or by a step. The others: of the results of operations a and b.
struct SizeOp {
  enum class Kind : uint8_t { number, symbol, add, multiply, divide, least, most } kind = Kind::number;
  int64_t a = 0, b = 0;
};

// A size that no bound is known of: the largest that a dimension may have, see MOST_SIZE of src/pathweave/net/dim.py.
constexpr int64_t kUnbounded = int64_t{1} << 40;
// The result of what cannot be computed: it overflows, divides by 0, or an operand is none. It is below every size. A number
// that 64 bits do not hold is it too: what asks for such a number never holds.
constexpr int64_t kNoSize = INT64_MIN;

// Immutable; the results live with the session that asks.
class SizeProgram {
 public:
  SizeProgram() = default;
  // Throws Error where an operand is no earlier operation, or a bound is none.
  explicit SizeProgram(std::vector<SizeOp> ops);

  size_t count() const { return ops_.size(); }
  const SizeOp& operator[](size_t i) const { return ops_[i]; }
  // Operations that are symbols, in order.
  const std::vector<int>& symbols() const { return symbols_; }

  // Computes all that is no symbol; `results` holds those. A result may be negative, or kNoSize: who uses it looks at it.
  void evaluate(int64_t* results) const noexcept;
  // Per operation, whether a symbol past the first `given` ones goes into it.
  std::vector<bool> late(size_t given) const;
  bool within(int symbol, int64_t value) const noexcept {
    const SizeOp& op = ops_[static_cast<size_t>(symbol)];
    return value >= op.a && value <= op.b;
  }

 private:
  std::vector<SizeOp> ops_;
  std::vector<int> symbols_;
};

// What sizes must fulfil for a step to run: one of the relations between results of a SizeProgram.
struct SizeRelation {
  enum class Kind : uint8_t { equal, at_least, divides } kind = Kind::equal;
  int left = 0, right = 0;
  bool holds(const int64_t* results) const noexcept;
};
struct SizeCheck {
  std::vector<SizeRelation> any;
  std::string text;  // for people
  bool holds(const int64_t* results) const noexcept;
};

}  // namespace pw
