// Convolutions with bias and ReLU for CPUs, and their gradients, as functions that XLA calls.
//
// A few images at a time pass through all steps of a layer, so that what lies between the steps
// stays in the cache of one core; the images are shared out over XLA's threads. Space to depth makes
// a window one of 2 x 2 or 3 x 3 taps and stride 1, for which Winograd's minimal filtering
// F(m x m, r x r) takes (m + r - 1)^2 products for m * m outputs instead of (m * r)^2
// (Lavin and Gray, arXiv:1509.09308). `winograd.py` transforms the kernels.
//
// Shapes: y [B, H', W', O] floats; K = C * stride * stride channels of an image after space to
// depth; T tiles of m x m outputs. Arrays are dense and in C order. K and O are multiples of two
// vectors; K of bytes, which have no gradient, of one.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "multiply.h"
#include "xla_call.h"

namespace jaxdqn {
namespace {

constexpr int64_t kImagesPerPart = 4;  // images whose gradients one thread adds up
constexpr int64_t kByteStride = 4;     // the stride over images of bytes

// Memory of one thread, kept between calls, in whole cache lines.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {
    thread_local Memory memory;
    thread_local int64_t size = 0;
    if (size < floats) {
      memory.reset(new (std::align_val_t(kCacheLine)) float[floats]);
      size = floats;
    }
    free_ = memory.get();
  }
  float* Take(int64_t floats) { return std::exchange(free_, free_ + floats); }

 private:
  static constexpr int kCacheLine = 64;
  struct Delete {
    void operator()(float* memory) const {
      operator delete[](memory, std::align_val_t(kCacheLine));
    }
  };
  using Memory = std::unique_ptr<float[], Delete>;
  float* free_;
};

// A layer

struct Layer {
  int64_t images, height, width, channels;  // of x
  int64_t stride, taps;                     // `taps` of the window along an axis, after folding
  int64_t out_height, out_width, outputs;   // of y
  int64_t tile;                             // outputs of a tile along an axis

  int64_t depth() const { return channels * stride * stride; }  // K
  int64_t tile_rows() const { return (out_height + tile - 1) / tile; }
  int64_t tile_columns() const { return (out_width + tile - 1) / tile; }
  int64_t tiles() const { return tile_rows() * tile_columns(); }
  int64_t planes() const { return (tile + taps - 1) * (tile + taps - 1); }
  // Size of an image after space to depth, with zeros where tiles reach beyond it.
  int64_t rows() const { return tile * tile_rows() + taps - 1; }
  int64_t columns() const { return tile * tile_columns() + taps - 1; }
  int64_t folded_size() const { return rows() * columns() * depth(); }
  int64_t image_size() const { return height * width * channels; }
  int64_t output_size() const { return out_height * out_width * outputs; }
  int64_t kernels_size() const { return planes() * depth() * outputs; }
  // Images whose tiles are multiplied together: enough of them for a product to be worth its start.
  int64_t images_at_once() const { return std::clamp<int64_t>(64 / tiles(), 1, kImagesPerPart); }
};

// Images: floats [B, H, W, C], or bytes [B, C, H, W]. Folded, their channels stand in the order
// row, column, channel for floats and channel, row, column for bytes.
struct Images {
  const void* data;
  bool are_bytes;
};

// Calls each(position in the image, position in the folded image, length) for every run of floats
// that lie side by side in both.
template <typename Each>
void ForEachRun(const Layer& layer, const Each& each) {
  const int64_t s = layer.stride, run = s * layer.channels;
  const int64_t rows = std::min(layer.rows(), layer.height / s);
  const int64_t columns = std::min(layer.columns(), layer.width / s);
  for (int64_t i = 0; i < rows * s; i++) {
    for (int64_t j = 0; j < columns; j++) {
      each((i * layer.width + j * s) * layer.channels,
           ((i / s * layer.columns() + j) * s + i % s) * run, run);
    }
  }
}

void FoldFloats(const Layer& layer, const float* image, float* folded) {
  ForEachRun(layer, [&](int64_t from, int64_t to, int64_t length) {
    std::copy_n(image + from, length, folded + to);
  });
}

void FoldBytes(const Layer& layer, const uint8_t* image, float* folded) {
  constexpr int64_t s = kByteStride;
  const int64_t rows = std::min(layer.rows(), layer.height / s);
  const int64_t columns = std::min(layer.columns(), layer.width / s);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t run = 0; run < layer.channels * s; run++) {  // all that goes to one folded row
      const uint8_t* const from =
          image + ((run / s) * layer.height + i * s + run % s) * layer.width;
      float* const to = folded + i * layer.columns() * layer.depth() + run * s;
      for (int64_t j = 0; j < columns; j++) {
        for (int64_t k = 0; k < s; k++) to[j * layer.depth() + k] = from[j * s + k];
      }
    }
  }
}

// Space to depth, as floats, with zeros beyond the image.
void Fold(const Layer& layer, Images x, int64_t n, float* folded) {
  if (layer.rows() * layer.stride > layer.height || layer.columns() * layer.stride > layer.width) {
    std::fill_n(folded, layer.folded_size(), 0.0f);
  }
  const int64_t position = n * layer.image_size();
  if (x.are_bytes) {
    FoldBytes(layer, static_cast<const uint8_t*>(x.data) + position, folded);
  } else {
    FoldFloats(layer, static_cast<const float*>(x.data) + position, folded);
  }
}

// The transpose of `Fold`, for floats.
void Unfold(const Layer& layer, const float* folded, float* image) {
  std::fill_n(image, layer.image_size(), 0.0f);
  ForEachRun(layer, [&](int64_t to, int64_t from, int64_t length) {
    std::copy_n(folded + from, length, image + to);
  });
}

// Minimal filtering along one axis, by the number of products, 3 or 4, and of outputs, 2 or 3

template <int products>
void Inputs(const Vector* d, Vector* v) {
  if constexpr (products == 3) {
    v[0] = d[0] - d[1], v[1] = d[1], v[2] = d[2] - d[1];
  } else {
    v[0] = d[0] - d[2], v[1] = d[1] + d[2], v[2] = d[2] - d[1], v[3] = d[1] - d[3];
  }
}

template <int products>
void InputsTransposed(const Vector* v, Vector* d) {
  if constexpr (products == 3) {
    d[0] = v[0], d[1] = v[1] - v[0] - v[2], d[2] = v[2];
  } else {
    d[0] = v[0], d[1] = v[1] - v[2] + v[3], d[2] = v[1] + v[2] - v[0], d[3] = -v[3];
  }
}

template <int products, int tile>
void Outputs(const Vector* m, Vector* y) {
  if constexpr (products == 3) {
    y[0] = m[0] + m[1], y[1] = m[1] + m[2];
  } else if constexpr (tile == 2) {
    y[0] = m[0] + m[1] + m[2], y[1] = m[1] - m[2] - m[3];
  } else {
    y[0] = m[0] + m[1] + m[2], y[1] = m[1] - m[2], y[2] = m[1] + m[2] - m[3];
  }
}

template <int products, int tile>
void OutputsTransposed(const Vector* y, Vector* m) {
  if constexpr (products == 3) {
    m[0] = y[0], m[1] = y[0] + y[1], m[2] = y[1];
  } else if constexpr (tile == 2) {
    m[0] = y[0], m[1] = y[0] + y[1], m[2] = y[0] - y[1], m[3] = -y[1];
  } else {
    m[0] = y[0], m[1] = y[0] + y[1] + y[2], m[2] = y[0] - y[1] + y[2], m[3] = -y[2];
  }
}

// Applies a function of one axis along both.
template <int from, int to>
void AlongBoth(void (*along)(const Vector*, Vector*), const Vector (&x)[from][from],
               Vector (&y)[to][to]) {
  Vector columns[to][from];
  for (int i = 0; i < from; i++) {
    Vector row[to];
    along(x[i], row);
    for (int j = 0; j < to; j++) columns[j][i] = row[j];
  }
  for (int j = 0; j < to; j++) {
    Vector column[to];
    along(columns[j], column);
    for (int i = 0; i < to; i++) y[i][j] = column[i];
  }
}

// Vectors that stand in a grid of memory, `row` floats apart down and `column` floats across.
template <int n>
void LoadGrid(const float* from, int64_t row, int64_t column, Vector (&grid)[n][n]) {
  for (int r = 0; r < n; r++) {
    for (int c = 0; c < n; c++) grid[r][c] = Load(from + r * row + c * column);
  }
}

template <int n>
void StoreGrid(const Vector (&grid)[n][n], float* to, int64_t row, int64_t column) {
  for (int r = 0; r < n; r++) {
    for (int c = 0; c < n; c++) Store(to + r * row + c * column, grid[r][c]);
  }
}

// Layers with n = tile + taps - 1 products along an axis. Of N images at once there are n * n
// planes: inputs [N * T, K], kernels [K, O] and products [N * T, O].

template <int tile, int taps>
struct Filter {
  static constexpr int n = tile + taps - 1;

  // Inputs of all tiles of one image; `plane` is the distance between two planes.
  static void TransformInputs(const Layer& layer, const float* folded, float* inputs,
                              int64_t plane) {
    const int64_t depth = layer.depth();
    for (int64_t i = 0; i < layer.tile_rows(); i++) {
      for (int64_t j = 0; j < layer.tile_columns(); j++, inputs += depth) {
        const float* from = folded + (i * layer.columns() + j) * tile * depth;
        for (int64_t k = 0; k < depth; k += kLanes) {
          Vector d[n][n], v[n][n];
          LoadGrid(from + k, layer.columns() * depth, depth, d);
          AlongBoth(Inputs<n>, d, v);
          StoreGrid(v, inputs + k, n * plane, plane);
        }
      }
    }
  }

  // The transpose of `TransformInputs`.
  static void TransformInputsTransposed(const Layer& layer, const float* dinputs, float* folded,
                                        int64_t plane) {
    const int64_t depth = layer.depth();
    std::fill_n(folded, layer.folded_size(), 0.0f);
    for (int64_t i = 0; i < layer.tile_rows(); i++) {
      for (int64_t j = 0; j < layer.tile_columns(); j++, dinputs += depth) {
        float* to = folded + (i * layer.columns() + j) * tile * depth;
        for (int64_t k = 0; k < depth; k += kLanes) {
          Vector v[n][n], d[n][n];
          LoadGrid(dinputs + k, n * plane, plane, v);
          AlongBoth(InputsTransposed<n>, v, d);
          for (int r = 0; r < n; r++) {
            for (int c = 0; c < n; c++) {
              float* const place = to + (r * layer.columns() + c) * depth + k;
              Store(place, Load(place) + d[r][c]);  // windows of neighbouring tiles overlap
            }
          }
        }
      }
    }
  }

  // Calls each(r, c, position in y) for the outputs of tile (i, j) that lie within the image.
  template <typename Each>
  static void ForEachOutput(const Layer& layer, int64_t i, int64_t j, const Each& each) {
    for (int r = 0; r < tile && i * tile + r < layer.out_height; r++) {
      for (int c = 0; c < tile && j * tile + c < layer.out_width; c++) {
        each(r, c, ((i * tile + r) * layer.out_width + j * tile + c) * layer.outputs);
      }
    }
  }

  // Outputs of one image, with the bias added, and of them the positive part.
  static void TransformOutputs(const Layer& layer, const float* products, const float* bias,
                               float* y, int64_t plane) {
    for (int64_t i = 0; i < layer.tile_rows(); i++) {
      for (int64_t j = 0; j < layer.tile_columns(); j++, products += layer.outputs) {
        for (int64_t o = 0; o < layer.outputs; o += kLanes) {
          Vector m[n][n], sums[tile][tile];
          LoadGrid(products + o, n * plane, plane, m);
          AlongBoth(Outputs<n, tile>, m, sums);
          const Vector shift = Load(bias + o), zero = {};
          ForEachOutput(layer, i, j, [&](int r, int c, int64_t position) {
            const Vector sum = sums[r][c] + shift;
            Store(y + position + o, sum < zero ? zero : sum);  // keeps what is not a number
          });
        }
      }
    }
  }

  // The gradient of `TransformOutputs`; adds that of the bias to `dbias`.
  static void TransformOutputsTransposed(const Layer& layer, const float* y, const float* dy,
                                         float* dproducts, float* dbias, int64_t plane) {
    for (int64_t i = 0; i < layer.tile_rows(); i++) {
      for (int64_t j = 0; j < layer.tile_columns(); j++, dproducts += layer.outputs) {
        for (int64_t o = 0; o < layer.outputs; o += kLanes) {
          Vector d[tile][tile] = {}, m[n][n], sum = Load(dbias + o);
          ForEachOutput(layer, i, j, [&](int r, int c, int64_t position) {
            const Vector zero = {};
            d[r][c] = Load(y + position + o) > zero ? Load(dy + position + o) : zero;
            sum += d[r][c];
          });
          Store(dbias + o, sum);
          AlongBoth(OutputsTransposed<n, tile>, d, m);
          StoreGrid(m, dproducts + o, n * plane, plane);
        }
      }
    }
  }

  // Images `begin` to `end`.
  static void Forward(const Layer& layer, int64_t begin, int64_t end, Images x,
                      const float* kernels, const float* bias, float* y) {
    const int64_t depth = layer.depth(), outputs = layer.outputs, tiles = layer.tiles();
    const int64_t rows = (end - begin) * tiles;
    Scratch scratch(layer.folded_size() + n * n * rows * (depth + outputs));
    float* const folded = scratch.Take(layer.folded_size());
    float* const inputs = scratch.Take(n * n * rows * depth);
    float* const products = scratch.Take(n * n * rows * outputs);
    for (int64_t image = begin, row = 0; image < end; image++, row += tiles) {
      Fold(layer, x, image, folded);
      TransformInputs(layer, folded, inputs + row * depth, rows * depth);
    }
    for (int p = 0; p < n * n; p++) {
      Multiply(rows, outputs, depth, {inputs + p * rows * depth, depth, 1},
               kernels + p * depth * outputs, products + p * rows * outputs, false);
    }
    for (int64_t image = begin, row = 0; image < end; image++, row += tiles) {
      TransformOutputs(layer, products + row * outputs, bias, y + image * layer.output_size(),
                       rows * outputs);
    }
  }

  // Images `begin` to `end`; adds to `dkernels` and `dbias`. Without `dx` it is left out.
  static void Backward(const Layer& layer, int64_t begin, int64_t end, Images x,
                       const float* kernels_t, const float* y, const float* dy, float* dkernels,
                       float* dbias, float* dx) {
    const int64_t depth = layer.depth(), outputs = layer.outputs, tiles = layer.tiles();
    const int64_t rows = (end - begin) * tiles;
    Scratch scratch(layer.folded_size() + n * n * rows * (depth + outputs));
    float* const folded = scratch.Take(layer.folded_size());
    float* const inputs = scratch.Take(n * n * rows * depth);
    float* const dproducts = scratch.Take(n * n * rows * outputs);
    for (int64_t image = begin, row = 0; image < end; image++, row += tiles) {
      const int64_t position = image * layer.output_size();
      Fold(layer, x, image, folded);
      TransformInputs(layer, folded, inputs + row * depth, rows * depth);
      TransformOutputsTransposed(layer, y + position, dy + position, dproducts + row * outputs,
                                 dbias, rows * outputs);
    }
    for (int p = 0; p < n * n; p++) {
      Multiply(depth, outputs, rows, {inputs + p * rows * depth, 1, depth},
               dproducts + p * rows * outputs, dkernels + p * depth * outputs, true);
    }
    if (dx == nullptr) return;
    float* const dinputs = inputs;
    for (int p = 0; p < n * n; p++) {
      Multiply(rows, depth, outputs, {dproducts + p * rows * outputs, outputs, 1},
               kernels_t + p * depth * outputs, dinputs + p * rows * depth, false);
    }
    for (int64_t image = begin, row = 0; image < end; image++, row += tiles) {
      TransformInputsTransposed(layer, dinputs + row * depth, folded, rows * depth);
      Unfold(layer, folded, dx + image * layer.image_size());
    }
  }
};

// What XLA calls

// Calls call(Filter<...>) with the filter of a layer; returns whether there is one.
template <typename Function>
bool WithFilter(const Layer& layer, const Function& call) {
  if (layer.tile == 2 && layer.taps == 2) {
    call(Filter<2, 2>());
  } else if (layer.tile == 3 && layer.taps == 2) {
    call(Filter<3, 2>());
  } else if (layer.tile == 2 && layer.taps == 3) {
    call(Filter<2, 3>());
  } else {
    return false;
  }
  return true;
}

Images MakeImages(const XLA_FFI_Buffer& x) { return {x.data, x.dtype == XLA_FFI_DataType_U8}; }

Layer MakeLayer(const Call& call, const XLA_FFI_Buffer& x, const XLA_FFI_Buffer& y) {
  const bool are_bytes = MakeImages(x).are_bytes;
  Layer layer;
  layer.images = x.dims[0];
  layer.height = x.dims[are_bytes ? 2 : 1];
  layer.width = x.dims[are_bytes ? 3 : 2];
  layer.channels = x.dims[are_bytes ? 1 : 3];
  layer.stride = call.Attribute("stride");
  layer.taps = call.Attribute("taps");
  layer.tile = call.Attribute("tile");
  layer.out_height = y.dims[1];
  layer.out_width = y.dims[2];
  layer.outputs = y.dims[3];
  return layer;
}

float* Floats(const XLA_FFI_Buffer& buffer) { return static_cast<float*>(buffer.data); }

// Arguments: x, kernels [n * n, K, O], bias [O]. Result: y.
XLA_FFI_Error* Forward(const Call& call) {
  const Images x = MakeImages(call.Argument(0));
  const Layer layer = MakeLayer(call, call.Argument(0), call.Result(0));
  const float *kernels = Floats(call.Argument(1)), *bias = Floats(call.Argument(2));
  float* const y = Floats(call.Result(0));
  const int64_t size = layer.images_at_once();
  const bool done = WithFilter(layer, [&](auto filter) {
    call.ForEach((layer.images + size - 1) / size, [&](int64_t n) {
      filter.Forward(layer, n * size, std::min((n + 1) * size, layer.images), x, kernels, bias, y);
    });
  });
  return done ? nullptr : call.Refuse("no filter of this size");
}

// Arguments: x, transposed kernels [n * n, O, K], y, its gradient [B, H', W', O]. Results: the
// gradients of kernels [n * n, K, O], of bias [O], and of x, where that is of floats; and the sums
// over kImagesPerPart images each, [parts, n * n * K * O + O], whose memory XLA counts and reuses.
XLA_FFI_Error* Backward(const Call& call) {
  const Images x = MakeImages(call.Argument(0));
  const Layer layer = MakeLayer(call, call.Argument(0), call.Argument(2));
  const float *kernels_t = Floats(call.Argument(1)), *y = Floats(call.Argument(2));
  const float* const dy = Floats(call.Argument(3));
  float *const dkernels = Floats(call.Result(0)), *const dbias = Floats(call.Result(1));
  float* const dx = x.are_bytes ? nullptr : Floats(call.Result(2));

  // Which images a part adds up does not hang on threads: equal inputs give equal bits.
  const int64_t parts = (layer.images + kImagesPerPart - 1) / kImagesPerPart;
  const int64_t plane = layer.depth() * layer.outputs;
  const int64_t part_size = layer.kernels_size() + layer.outputs;
  const XLA_FFI_Buffer& memory = call.Result(3);
  if (memory.dims[0] != parts || memory.dims[1] != part_size) return call.Refuse("wrong sums");
  float* const sums = Floats(memory);
  const bool done = WithFilter(layer, [&](auto filter) {
    call.ForEach(parts, [&](int64_t part) {
      float* const dkernels_part = sums + part * part_size;
      float* const dbias_part = dkernels_part + layer.kernels_size();
      std::fill_n(dkernels_part, part_size, 0.0f);
      const int64_t end = std::min((part + 1) * kImagesPerPart, layer.images);
      for (int64_t n = part * kImagesPerPart; n < end; n += layer.images_at_once()) {
        filter.Backward(layer, n, std::min(n + layer.images_at_once(), end), x, kernels_t, y, dy,
                        dkernels_part, dbias_part, dx);
      }
    });
  });
  if (!done) return call.Refuse("no filter of this size");
  call.ForEach(layer.planes() + 1, [&](int64_t n) {
    const bool last = n == layer.planes();
    const int64_t size = last ? layer.outputs : plane;
    float* const to = last ? dbias : dkernels + n * plane;
    std::copy_n(sums + n * plane, size, to);
    for (int64_t part = 1; part < parts; part++) {
      const float* const from = sums + part * part_size + n * plane;
      for (int64_t k = 0; k < size; k++) to[k] += from[k];
    }
  });
  return nullptr;
}

}  // namespace
}  // namespace jaxdqn

extern "C" XLA_FFI_Error* jaxdqn_convolution_forward(XLA_FFI_CallFrame* frame) {
  return jaxdqn::AnswersQuery(frame) ? nullptr : jaxdqn::Forward(jaxdqn::Call(frame));
}

extern "C" XLA_FFI_Error* jaxdqn_convolution_backward(XLA_FFI_CallFrame* frame) {
  return jaxdqn::AnswersQuery(frame) ? nullptr : jaxdqn::Backward(jaxdqn::Call(frame));
}
