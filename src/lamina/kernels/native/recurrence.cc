// Recurrences over time in f32, and their gradients.
//
// A few sequences at a time run through all steps: nothing waits between steps, and
// the weights stay in the second-level cache. A step is a product of the state with
// the weights, and then a cell: a small function of vectors of units. All arrays
// over time are time-major.

#include <algorithm>

#include "exponential.h"
#include "simd.h"
#include "threads.h"
#include "tile.h"

namespace lamina {
namespace {

// Beyond 88 the exponential is infinite, and its reciprocal 0.
inline Vec Sigmoid(Vec x) {
  Exponential e(Clamp(-x, -87, 89));
  return 1 / (1 + (e.part + 1) * e.scale);
}

// By exp(2 x) - 1, which keeps the digits of a small x.
inline Vec Tanh(Vec x) {
  Exponential e(Clamp(x + x, -20, 20));
  Vec more = e.part * e.scale + (e.scale - 1);
  return more / (more + 2);
}

// What a cell has: parts of a step's inputs and weights, arrays saved for the
// backward pass, a second state `c`, a bias of the product, and whether the inputs'
// gradient is the product's too.

struct Lstm {
  static constexpr int kGates = 4, kSaved = 5;
  static constexpr bool kMemory = true, kBias = false, kSame = true;

  static Vec Forward(const Vec* x, const Vec* product, Vec, Vec& c, Vec* saved) {
    Vec i = Sigmoid(x[0] + product[0]), f = Sigmoid(x[1] + product[1]);
    Vec g = Tanh(x[2] + product[2]), o = Sigmoid(x[3] + product[3]);
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = c;
    c = f * c + i * g;
    return o * Tanh(c);
  }

  // Returns what reaches the last state past the product.
  static Vec Backward(const Vec* saved, Vec, Vec, Vec d_h, Vec& d_c, Vec* d_x, Vec*) {
    Vec i = saved[0], f = saved[1], g = saved[2], o = saved[3], c = saved[4];
    Vec tanh_c = Tanh(f * c + i * g);
    d_c += d_h * o * (1 - tanh_c * tanh_c);
    d_x[0] = d_c * g * i * (1 - i);
    d_x[1] = d_c * c * f * (1 - f);
    d_x[2] = d_c * i * (1 - g * g);
    d_x[3] = d_h * tanh_c * o * (1 - o);
    d_c *= f;
    return Vec{};
  }
};

struct Gru {
  static constexpr int kGates = 3, kSaved = 4;
  static constexpr bool kMemory = false, kBias = true, kSame = false;

  static Vec Forward(const Vec* x, const Vec* product, Vec h, Vec&, Vec* saved) {
    Vec z = Sigmoid(x[0] + product[0]), r = Sigmoid(x[1] + product[1]);
    Vec g = Tanh(x[2] + r * product[2]);
    saved[0] = z, saved[1] = r, saved[2] = g, saved[3] = product[2];
    return z * h + (1 - z) * g;
  }

  static Vec Backward(const Vec* saved, Vec h, Vec, Vec d_h, Vec&, Vec* d_x,
                      Vec* d_product) {
    Vec z = saved[0], r = saved[1], g = saved[2];
    d_x[2] = d_h * (1 - z) * (1 - g * g);
    d_x[0] = d_product[0] = d_h * (h - g) * z * (1 - z);
    d_x[1] = d_product[1] = d_x[2] * saved[3] * r * (1 - r);
    d_product[2] = d_x[2] * r;
    return d_h * z;
  }
};

struct Simple {
  static constexpr int kGates = 1, kSaved = 0;
  static constexpr bool kMemory = false, kBias = false, kSame = true;

  static Vec Forward(const Vec* x, const Vec* product, Vec, Vec&, Vec*) {
    return Tanh(x[0] + product[0]);
  }

  static Vec Backward(const Vec*, Vec, Vec output, Vec d_h, Vec&, Vec* d_x, Vec*) {
    d_x[0] = d_h * (1 - output * output);
    return Vec{};
  }
};

// How many sequences run together: enough to use a weight several times while it is
// in a register, few enough to share the work among threads. An even number of parts
// serves an even number of threads.
int64_t Parts(int64_t batch) {
  int64_t parts = DivideUp(batch, 11);
  return parts > 1 ? RoundUp(parts, 2) : parts;
}

// The vectors of a panel: few enough for one tile to take all sequences, as each tile
// reads the whole panel again.
int Widest(int64_t batch) {
  return DivideUp(batch, Parts(batch)) <= MostPixels(4) ? 4 : 2;
}

// A matrix in panels of a few vectors of columns, each in one piece.
struct Panels {
  const float* data;
  int64_t rows, columns;
  int most;  // vectors

  int VectorsAt(int64_t column) const {
    return std::min(most, Vectors(RoundUp(columns - column, kLanes)));
  }
};

Panels Pack(ffi::ThreadPool& pool, int slot, const float* from, int64_t rows,
            int64_t columns, int64_t row_step, int64_t column_step, int most) {
  constexpr int64_t kRows = 16, kColumns = 4 * kLanes;
  float* to = Scratch(slot, rows * RoundUp(columns, kLanes));
  Panels packed{to, rows, columns, most};
  auto pack = [&](int64_t task) {
    int64_t k = task * kColumns, end = std::min(k + kColumns, columns);
    while (k < end) {
      int64_t wide = packed.VectorsAt(k) * kLanes;
      int64_t some = std::min(wide, end - k);
      // A few rows at a time: lines of the cache are read and written whole.
      for (int64_t first = 0; first < rows; first += kRows) {
        int64_t last = std::min(first + kRows, rows);
        float* panel = to + k * rows;
        for (int64_t c = 0; c < some && column_step > 1; ++c) {
          const float* column = from + (k + c) * column_step;
          for (int64_t r = first; r < last; ++r) panel[r * wide + c] = column[r * row_step];
        }
        for (int64_t r = first; r < last; ++r) {
          if (column_step == 1) std::copy_n(from + r * row_step + k, some, panel + r * wide);
          std::fill(panel + r * wide + some, panel + (r + 1) * wide, 0.f);
        }
      }
      k += wide;
    }
  };
  int64_t tasks = DivideUp(columns, kColumns);
  Parallel(pool, tasks, 16 * rows * columns, pack);
  return packed;
}

// out = x @ matrix, or out += x @ matrix.
void Multiply(const float* x, int64_t rows, const Panels& matrix, float* out, bool add) {
  const Offset whole{0, 0};
  const float* panel = matrix.data;
  for (int64_t k = 0; k < matrix.columns;) {
    int vectors = matrix.VectorsAt(k);
    int64_t wide = vectors * kLanes;
    int64_t tile = DivideUp(rows, DivideUp(rows, MostPixels(vectors)));
    for (int64_t r = 0; r < rows; r += tile) {
      Choose(std::min(tile, rows - r), vectors)(
          x + r * matrix.rows, matrix.rows, &whole, 1, matrix.rows, panel, wide, add,
          out + r * matrix.columns + k, matrix.columns, matrix.columns - k);
    }
    panel += matrix.rows * wide;
    k += wide;
  }
}

// The arrays that a call takes and fills, one after another.
struct Arrays {
  ffi::RemainingArgs args;
  ffi::RemainingRets rets;
  size_t taken = 0, filled = 0;
  bool fit = true;

  ffi::AnyBuffer Next() { return args.get<ffi::AnyBuffer>(taken++).value(); }

  template <typename T = float>
  const T* Take(int64_t count) {
    if (count == 0) return nullptr;
    ffi::AnyBuffer array = Next();
    fit = fit && static_cast<int64_t>(array.element_count()) == count;
    return static_cast<const T*>(array.untyped_data());
  }

  // The next array, if there is one and it has so many dimensions.
  template <typename T = float>
  const T* Maybe(size_t rank, int64_t count) {
    if (taken == args.size()) return nullptr;
    auto array = args.get<ffi::AnyBuffer>(taken).value();
    return array.dimensions().size() == rank ? Take<T>(count) : nullptr;
  }

  float* Fill(int64_t count) {
    if (count == 0) return nullptr;
    ffi::Result<ffi::AnyBuffer> array = rets.get<ffi::AnyBuffer>(filled++).value();
    fit = fit && static_cast<int64_t>(array->element_count()) == count;
    return static_cast<float*>(array->untyped_data());
  }

  ffi::Error Unfit() const { return ffi::Error::InvalidArgument("arrays do not fit"); }
};

// out = x @ matrix + bias
void Multiply(const float* x, int64_t rows, const Panels& matrix, const float* bias,
              float* out) {
  for (int64_t r = 0; bias && r < rows; ++r) {
    std::copy_n(bias, matrix.columns, out + r * matrix.columns);
  }
  Multiply(x, rows, matrix, out, bias != nullptr);
}

template <typename Task>
void Split(ffi::ThreadPool& pool, int64_t batch, int64_t work, const Task& task) {
  int64_t parts = Parts(batch);
  Parallel(pool, parts, work, [&](int64_t part) {
    task(batch * part / parts, batch * (part + 1) / parts);
  });
}

// Neighbouring units of all gates of one sequence.
template <int kGates>
void LoadAll(const float* from, int64_t step, int64_t left, Vec* values) {
  for (int g = 0; g < kGates; ++g) values[g] = Load(from + g * step, left);
}

template <int kGates>
void StoreAll(float* to, int64_t step, int64_t left, const Vec* values) {
  for (int g = 0; g < kGates; ++g) Store(to + g * step, values[g], left);
}

template <typename Cell>
ffi::Error Forward(ffi::ThreadPool pool, ffi::RemainingArgs args,
                   ffi::RemainingRets rets) {
  constexpr int kGates = Cell::kGates;
  Arrays arrays{args, rets};
  ffi::AnyBuffer inputs = arrays.Next(), first = arrays.Next();
  const float* x = inputs.typed_data<float>();
  const float* first_h = first.typed_data<float>();
  int64_t times = inputs.dimensions()[0], batch = first.dimensions()[0];
  int64_t units = first.dimensions()[1], wide = kGates * units, all = batch * units;
  const float* matrix = arrays.Take(units * wide);
  const bool* keep = arrays.Maybe<bool>(3, times * batch);
  const float* first_c = arrays.Take(Cell::kMemory * all);
  const float* bias = arrays.Take(Cell::kBias * wide);
  int64_t features = inputs.dimensions()[2];
  const float* kernel = arrays.Maybe(2, features * wide);
  const float* kernel_bias = arrays.Maybe(1, wide);
  float *outputs = arrays.Fill(times * all), *last_h = arrays.Fill(all);
  float* c = arrays.Fill(Cell::kMemory * all);
  bool saves = arrays.filled < rets.size();
  float* saved[Cell::kSaved + 1] = {};
  for (int s = 0; s < Cell::kSaved; ++s) saved[s] = arrays.Fill(saves * times * all);
  if (!arrays.fit || inputs.dimensions()[1] != batch || (!kernel && features != wide)) {
    return arrays.Unfit();
  }
  int most = Widest(batch);
  Panels weights = Pack(pool, 1, matrix, units, wide, wide, 1, most), projection{};
  if (kernel) projection = Pack(pool, 2, kernel, features, wide, wide, 1, most);

  Split(pool, batch, times * all * wide, [&](int64_t begin, int64_t end) {
    int64_t rows = end - begin;
    float *product = Scratch(0, 2 * rows * wide), *projected = product + rows * wide;
    if (c) std::copy(first_c + begin * units, first_c + end * units, c + begin * units);
    const float* before = first_h;
    for (int64_t t = 0; t < times; ++t) {
      Multiply(before + begin * units, rows, weights, bias, product);
      const float* in = x + (t * batch + begin) * features;
      if (kernel) {
        Multiply(in, rows, projection, kernel_bias, projected);
        in = projected;
      }
      float* now = outputs + t * batch * units;
      for (int64_t n = begin; n < end; ++n) {
        bool valid = !keep || keep[t * batch + n];
        for (int64_t u = 0; u < units; u += kLanes) {
          int64_t left = units - u, place = n * units + u;
          int64_t gates = (n - begin) * wide + u;
          Vec part[kGates], sum[kGates], save[Cell::kSaved + 1];
          LoadAll<kGates>(in + gates, units, left, part);
          LoadAll<kGates>(product + gates, units, left, sum);
          Vec h = Load(before + place, left), memory = c ? Load(c + place, left) : Vec{};
          Vec new_h = Cell::Forward(part, sum, h, memory, save);
          Store(now + place, valid ? new_h : h, left);
          if (c && valid) Store(c + place, memory, left);
          for (int s = 0; saves && s < Cell::kSaved; ++s) {
            Store(saved[s] + t * batch * units + place, save[s], left);
          }
        }
      }
      before = now;
    }
    std::copy(before + begin * units, before + end * units, last_h + begin * units);
  });
  return ffi::Error::Success();
}

template <typename Cell>
ffi::Error Backward(ffi::ThreadPool pool, ffi::RemainingArgs args,
                    ffi::RemainingRets rets) {
  constexpr int kGates = Cell::kGates;
  Arrays arrays{args, rets};
  ffi::AnyBuffer gradients = arrays.Next();
  const float* d_outputs = gradients.typed_data<float>();
  int64_t times = gradients.dimensions()[0], batch = gradients.dimensions()[1];
  int64_t units = gradients.dimensions()[2], wide = kGates * units;
  int64_t all = batch * units;
  const float* first = arrays.Take(all);
  const float* matrix = arrays.Take(units * wide);
  const bool* keep = arrays.Maybe<bool>(3, times * batch);
  const float* last_h = arrays.Take(all);
  const float* last_c = arrays.Take(Cell::kMemory * all);
  const float* outputs = arrays.Take(times * all);
  const float* saved[Cell::kSaved + 1] = {};
  for (int s = 0; s < Cell::kSaved; ++s) saved[s] = arrays.Take(times * all);
  float *d_inputs = arrays.Fill(times * batch * wide), *d_h = arrays.Fill(all);
  float* d_c = arrays.Fill(Cell::kMemory * all);
  float* d_products = arrays.Fill(!Cell::kSame * times * batch * wide);
  if (!arrays.fit) return arrays.Unfit();
  Panels weights = Pack(pool, 1, matrix, wide, units, 1, wide, Widest(batch));  // transposed

  Split(pool, batch, times * all * wide, [&](int64_t begin, int64_t end) {
    auto copy = [&](const float* from, float* to) {
      std::copy(from + begin * units, from + end * units, to + begin * units);
    };
    copy(last_h, d_h);
    if (d_c) copy(last_c, d_c);
    for (int64_t t = times - 1; t >= 0; --t) {
      int64_t now = t * batch * units;
      const float* before = t > 0 ? outputs + now - batch * units : first;
      for (int64_t n = begin; n < end; ++n) {
        bool valid = !keep || keep[t * batch + n];
        for (int64_t u = 0; u < units; u += kLanes) {
          int64_t left = units - u, place = n * units + u;
          int64_t gates = now * kGates + n * wide + u;
          Vec d_state = Load(d_h + place, left) + Load(d_outputs + now + place, left);
          Vec d_x[kGates] = {}, d_product[kGates] = {};
          if (valid) {
            Vec save[Cell::kSaved + 1];
            for (int s = 0; s < Cell::kSaved; ++s) {
              save[s] = Load(saved[s] + now + place, left);
            }
            Vec d_memory = d_c ? Load(d_c + place, left) : Vec{};
            d_state = Cell::Backward(save, Load(before + place, left),
                                     Load(outputs + now + place, left), d_state,
                                     d_memory, d_x, d_product);
            if (d_c) Store(d_c + place, d_memory, left);
          }
          Store(d_h + place, d_state, left);
          StoreAll<kGates>(d_inputs + gates, units, left, d_x);
          if (d_products) StoreAll<kGates>(d_products + gates, units, left, d_product);
        }
      }
      const float* d_product = d_products ? d_products : d_inputs;
      Multiply(d_product + (t * batch + begin) * wide, end - begin, weights,
               d_h + begin * units, true);
    }
  });
  return ffi::Error::Success();
}

auto Signature() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets();
}

}  // namespace
}  // namespace lamina

#define LAMINA_CELL(name, Cell)                                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_##name, lamina::Forward<lamina::Cell>, \
                                lamina::Signature());                        \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_##name##_back,                        \
                                lamina::Backward<lamina::Cell>, lamina::Signature())

LAMINA_CELL(lstm, Lstm);
LAMINA_CELL(gru_after, Gru);
LAMINA_CELL(simple, Simple);
