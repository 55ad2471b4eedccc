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

void SizeProgram::evaluate(int64_t* results) const noexcept {
  for (size_t i = 0; i < ops_.size(); ++i) {
    const SizeOp& op = ops_[i];
    int64_t& y = results[i];
    if (op.kind == SizeOp::Kind::symbol) continue;
    if (op.kind == SizeOp::Kind::number) {
      y = op.a;
      continue;
    }
    const int64_t a = results[op.a], b = results[op.b];
    bool fits = a != kNoSize && b != kNoSize;
    if (fits) switch (op.kind) {
        case SizeOp::Kind::add: fits = !__builtin_add_overflow(a, b, &y); break;
        case SizeOp::Kind::multiply: fits = !__builtin_mul_overflow(a, b, &y); break;
        case SizeOp::Kind::least: y = std::min(a, b); break;
        case SizeOp::Kind::most: y = std::max(a, b); break;
        default:
          fits = b != 0;  // neither is the least number, so that the quotient is one
          if (fits) y = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);  // rounded down
      }
    if (!fits) y = kNoSize;
  }
}

std::vector<bool> SizeProgram::late(size_t given) const {
  std::vector<bool> late(ops_.size(), false);
  for (size_t i = given; i < symbols_.size(); ++i) late[static_cast<size_t>(symbols_[i])] = true;
  for (size_t i = 0; i < ops_.size(); ++i)
    if (ops_[i].kind >= SizeOp::Kind::add)
      late[i] = late[static_cast<size_t>(ops_[i].a)] || late[static_cast<size_t>(ops_[i].b)];
  return late;
}

bool SizeRelation::holds(const int64_t* results) const noexcept {
  const int64_t a = results[left], b = results[right];
  if (a == kNoSize || b == kNoSize) return false;
  switch (kind) {
    case Kind::equal: return a == b;
    case Kind::at_least: return a >= b;
    default: return a != 0 && (a == -1 || b % a == 0);
  }
}

bool SizeCheck::holds(const int64_t* results) const noexcept {
  return std::any_of(any.begin(), any.end(), [&](const SizeRelation& r) { return r.holds(results); });
}

}  // namespace pw
