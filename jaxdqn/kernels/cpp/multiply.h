// Products of small matrices with vector instructions, near the peak of one core.

#ifndef JAXDQN_MULTIPLY_H_
#define JAXDQN_MULTIPLY_H_

#include <cstdint>

namespace jaxdqn {

// How many floats a vector has, and how many rows of two vectors the registers hold as sums.

#if defined(__AVX512F__)
constexpr int kLanes = 16, kMaxRows = 13;
#elif defined(__AVX__)
constexpr int kLanes = 8, kMaxRows = 6;
#else
constexpr int kLanes = 4, kMaxRows = 8;
#endif

typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4)));

inline Vector Load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void Store(float* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }

// A matrix whose element (i, k) stands at data[i * row + k * column].
struct Strided {
  const float* data;
  int64_t row, column;
};

// c[i, :] (+)= sum over k of a[i, k] * b[k, :], for `rows` rows and two vectors of columns.
template <int rows>
void MultiplyBlock(Strided a, const float* b, float* c, int64_t width, int depth, bool add) {
  Vector sums[rows][2];
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < 2; j++) {
      sums[i][j] = add ? Load(c + i * width + j * kLanes) : Vector{};
    }
  }
  for (int k = 0; k < depth; k++) {
    const Vector left = Load(b + k * width), right = Load(b + k * width + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      const Vector factor = Vector{} + a.data[i * a.row + k * a.column];
      sums[i][0] += factor * left;
      sums[i][1] += factor * right;
    }
  }
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < 2; j++) Store(c + i * width + j * kLanes, sums[i][j]);
  }
}

template <int most>
void MultiplyRows(int rows, Strided a, const float* b, float* c, int64_t width, int depth,
                  bool add) {
  if (rows == most) {
    MultiplyBlock<most>(a, b, c, width, depth, add);
  } else if constexpr (most > 1) {
    MultiplyRows<most - 1>(rows, a, b, c, width, depth, add);
  }
}

// c [rows, width] (+)= a [rows, depth] b [depth, width]; `width` is a multiple of two vectors.
inline void Multiply(int rows, int width, int depth, Strided a, const float* b, float* c,
                     bool add) {
  const int blocks = (rows + kMaxRows - 1) / kMaxRows;
  for (int column = 0; column < width; column += 2 * kLanes) {
    for (int block = 0, row = 0; block < blocks; block++) {
      const int end = rows * (block + 1) / blocks;  // blocks of nearly equal height
      MultiplyRows<kMaxRows>(end - row, {a.data + row * a.row, a.row, a.column}, b + column,
                             c + row * width + column, width, depth, add);
      row = end;
    }
  }
}

}  // namespace jaxdqn

#endif
