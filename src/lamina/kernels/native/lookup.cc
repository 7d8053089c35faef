// Finds texts in a vocabulary. Texts are UTF-32, as NumPy keeps them. Called without
// XLA; Python's lock is free meanwhile.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

uint64_t Hash(const uint32_t* text, int64_t size) {
  uint64_t hash = 0x9e3779b97f4a7c15u ^ static_cast<uint64_t>(size);
  for (int64_t i = 0; i < size; ++i) {
    hash = (hash ^ text[i]) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

// Terms one after the other, where each begins, and a table of open addressing that
// holds their numbers, or -1. Its size is a power of two above that of the terms.
struct Terms {
  const uint32_t* text;
  const int64_t* starts;
  int32_t* slots;
  int64_t size;

  // The slot of a text, or the empty one where it would be.
  int64_t Slot(const uint32_t* word, int64_t length) const {
    uint64_t at = Hash(word, length) & (size - 1);
    for (; slots[at] >= 0; at = (at + 1) & (size - 1)) {
      const int64_t start = starts[slots[at]];
      if (starts[slots[at] + 1] - start == length &&
          std::memcmp(text + start, word, length * sizeof(uint32_t)) == 0) {
        break;
      }
    }
    return at;
  }
};

bool IsSpace(uint32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool IsPunctuation(uint32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

// Calls `found` with each word of texts, which end with a zero each, in order;
// `lengths` gets the number of words of each text.
template <typename Found>
void ForWords(const uint32_t* texts, int64_t characters, bool lower, bool strip,
              int64_t* lengths, const Found& found) {
  std::vector<uint32_t> word;
  int64_t count = 0;
  for (int64_t i = 0; i < characters; ++i) {
    uint32_t c = texts[i];
    if (c != 0 && !IsSpace(c)) {
      if (strip && IsPunctuation(c)) continue;
      if (lower && c >= 'A' && c <= 'Z') c += 'a' - 'A';
      word.push_back(c);
      continue;
    }
    if (!word.empty()) {
      found(word);
      ++count;
      word.clear();
    }
    if (c == 0) {
      *lengths++ = count;
      count = 0;
    }
  }
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

// Fills the table, of -1 before, with the numbers of `count` different terms.
EXPORTED void lamina_terms(const uint32_t* text, const int64_t* starts, int32_t* slots,
                           int64_t size, int64_t count) {
  const Terms terms{text, starts, slots, size};
  for (int64_t n = 0; n < count; ++n) {
    slots[terms.Slot(text + starts[n], starts[n + 1] - starts[n])] = n;
  }
}

// Finds rows of `width` characters, of which zeros at the end are none.
EXPORTED void lamina_find(const uint32_t* text, const int64_t* starts, int32_t* slots,
                          int64_t size, const uint32_t* rows, int64_t count,
                          int64_t width, int64_t* out) {
  const Terms terms{text, starts, slots, size};
  for (int64_t n = 0; n < count; ++n, rows += width) {
    int64_t length = width;
    while (length > 0 && rows[length - 1] == 0) --length;
    out[n] = slots[terms.Slot(rows, length)];
  }
}

// Finds the words of texts, which end with a zero each. `out` has room for half as many
// as there are characters; `lengths` gets the number of words of each text.
EXPORTED void lamina_words(const uint32_t* text, const int64_t* starts, int32_t* slots,
                           int64_t size, const uint32_t* texts, int64_t characters,
                           int64_t lower, int64_t strip, int64_t* out,
                           int64_t* lengths) {
  const Terms terms{text, starts, slots, size};
  ForWords(texts, characters, lower, strip, lengths, [&](const auto& word) {
    *out++ = slots[terms.Slot(word.data(), word.size())];
  });
}

// Collects the different words of texts, in the order in which they come: `terms` gets
// their characters, and has room for as many as the texts have; `starts` where each
// begins and where the last ends; `out` and `lengths` what `lamina_words` gives. Returns
// how many different ones there are.
EXPORTED int64_t lamina_different(const uint32_t* texts, int64_t characters,
                                  int64_t lower, int64_t strip, uint32_t* terms,
                                  int64_t* starts, int64_t* out, int64_t* lengths) {
  std::vector<int32_t> slots(1024, -1);
  int64_t count = 0;
  starts[0] = 0;
  ForWords(texts, characters, lower, strip, lengths, [&](const auto& word) {
    int64_t size = slots.size();
    int64_t at = Terms{terms, starts, slots.data(), size}.Slot(word.data(), word.size());
    if (slots[at] < 0) {
      slots[at] = count;
      std::copy(word.begin(), word.end(), terms + starts[count]);
      starts[count + 1] = starts[count] + word.size();
      *out++ = count++;
      if (2 * count > size) {
        slots.assign(2 * size, -1);
        lamina_terms(terms, starts, slots.data(), 2 * size, count);
      }
      return;
    }
    *out++ = slots[at];
  });
  return count;
}
