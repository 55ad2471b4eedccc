// Sizes: the limits of shapes and attributes, and arithmetic that notices what passes them. A problem is held to these
// limits where its text is read (spi/problem.cpp), so that routines multiply the sizes of one value, and bytes of them,
// without a check of their own; what multiplies the sizes of two values asks `saturated`. src/pathweave/net/size.py has the
// same limits.
#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"

namespace pw {

constexpr int64_t kMostBytes = int64_t{1} << 40;  // of one value
constexpr int64_t kMostSize = int64_t{1} << 40;    // of a dimension
constexpr int64_t kMostSpan = int64_t{1} << 45;    // elements of a value with its padding, or with its windows or steps
constexpr int64_t kMostNumber = int64_t{1} << 46;  // of a whole number of an attribute: more than any distance
constexpr int64_t kMostVisits = int64_t{1} << 56;  // elements that all windows of a layer look at together
constexpr size_t kMostRank = 64;

// a * b and a + b. Throw Error where the result is no int64_t; `what` names it.
inline int64_t times(int64_t a, int64_t b, const char* what) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    throw Error(std::string(what) + ": " + std::to_string(a) + " x " + std::to_string(b) + " is beyond 64 bits");
  return product;
}
inline int64_t plus(int64_t a, int64_t b, const char* what) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum))
    throw Error(std::string(what) + ": " + std::to_string(a) + " + " + std::to_string(b) + " is beyond 64 bits");
  return sum;
}

// a * b of numbers that are not negative, INT64_MAX where it would be more.
inline int64_t saturated(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

}  // namespace pw
