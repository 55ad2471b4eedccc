// Sizes that are known when a plan runs: expressions of symbols, each computed from earlier ones.
#pragma once
#include <cstdint>
#include <vector>

namespace pw {

// number: a. symbol: between a and b, set by the caller or by a step. The others: of the results of operations a and b.
struct SizeOp {
  enum class Kind : uint8_t { number, symbol, add, multiply, divide, least, most } kind = Kind::number;
  int64_t a = 0, b = 0;
};

// A size that no bound is known of: the largest that a dimension may have, see MOST_SIZE of src/pathweave/net/dim.py.
constexpr int64_t kUnbounded = int64_t{1} << 40;

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

  // Computes all that is no symbol; `results` holds those. False where a result is negative or past kUnbounded, or a
  // divisor is 0: such sizes do not fit the net.
  bool evaluate(int64_t* results) const noexcept;
  bool within(int symbol, int64_t value) const noexcept {
    const SizeOp& op = ops_[static_cast<size_t>(symbol)];
    return value >= op.a && value <= op.b;
  }

 private:
  std::vector<SizeOp> ops_;
  std::vector<int> symbols_;
};

}  // namespace pw
