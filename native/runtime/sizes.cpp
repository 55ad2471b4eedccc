#include "runtime/sizes.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace pw {

SizeProgram::SizeProgram(std::vector<SizeOp> ops) : ops_(std::move(ops)) {
  for (size_t i = 0; i < ops_.size(); ++i) {
    const SizeOp& op = ops_[i];
    const std::string where = "size " + std::to_string(i) + ": ";
    if (op.kind == SizeOp::Kind::symbol) {
      if (op.a < 0 || op.b < op.a || op.b > kUnbounded) throw Error(where + "its bounds are no sizes");
      symbols_.push_back(static_cast<int>(i));
    } else if (op.kind != SizeOp::Kind::number) {
      const auto here = static_cast<int64_t>(i);
      if (op.a < 0 || op.b < 0 || op.a >= here || op.b >= here) throw Error(where + "an operand is no earlier size");
    }
  }
}

bool SizeProgram::evaluate(int64_t* results) const noexcept {
  bool fits = true;
  for (size_t i = 0; i < ops_.size(); ++i) {
    const SizeOp& op = ops_[i];
    const int64_t a = op.kind >= SizeOp::Kind::add ? results[op.a] : 0, b = op.kind >= SizeOp::Kind::add ? results[op.b] : 0;
    int64_t& y = results[i];
    switch (op.kind) {
      case SizeOp::Kind::symbol: break;
      case SizeOp::Kind::number: y = op.a; break;
      case SizeOp::Kind::add: fits &= !__builtin_add_overflow(a, b, &y); break;
      case SizeOp::Kind::multiply: fits &= !__builtin_mul_overflow(a, b, &y); break;
      case SizeOp::Kind::least: y = std::min(a, b); break;
      case SizeOp::Kind::most: y = std::max(a, b); break;
      case SizeOp::Kind::divide:
        if (b == 0 || (b == -1 && a == INT64_MIN)) {
          fits = false, y = 0;
        } else {
          y = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);  // rounded down
        }
    }
  }
  return fits;
}

}  // namespace pw
