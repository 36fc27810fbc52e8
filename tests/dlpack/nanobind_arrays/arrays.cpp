// Makes arrays and takes them, as any module written with nanobind does: nothing of DLPack is written here.

#include <algorithm>
#include <complex>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

// What is returned as an object with __dlpack__; the class without a framework would be a bare capsule.
using Array = nb::ndarray<nb::array_api>;

template <typename T> nb::capsule owner_of(T *block) {
    return nb::capsule(block, [](void *p) noexcept { delete[] static_cast<T *>(p); });
}

// 0 to count - 1, in memory of their own.
template <typename T> T *count_up(size_t count) {
    T *block = new T[count];
    for (size_t i = 0; i < count; ++i)
        block[i] = static_cast<T>(i);
    return block;
}

template <typename T> Array six() {
    T *block = count_up<T>(6);
    return Array(block, {6}, owner_of(block), {}, nb::dtype<T>());
}

static Array make() {
    int32_t *block = count_up<int32_t>(6);
    return Array(block, {2, 3}, owner_of(block), {}, nb::dtype<int32_t>());
}

static nb::ndarray<nb::array_api, const int32_t> readonly() {
    int32_t *block = count_up<int32_t>(6);
    return nb::ndarray<nb::array_api, const int32_t>(block, {2, 3}, owner_of(block));
}

static Array large() {
    uint8_t *block = new uint8_t[1 << 20];
    std::fill(block, block + (1 << 20), uint8_t(1));
    return Array(block, {1 << 20}, owner_of(block), {}, nb::dtype<uint8_t>());
}

// A view of 0 to 23 as int32, from the element `start` on.
static Array view(const std::vector<size_t> &shape, const std::vector<int64_t> &strides, size_t start) {
    int32_t *block = count_up<int32_t>(24);
    // nanobind hands on the address that it is given, so that NULL is ours to say.
    bool nothing = std::count(shape.begin(), shape.end(), 0) > 0;
    return Array(nothing ? nullptr : block, shape.size(), shape.data(), owner_of(block), strides.data(), nb::dtype<int32_t>(),
                 nb::device::cpu::value, 0, 'C', 4 * start);
}

static Array of_type(const char *name) {
    static const std::map<std::string, Array (*)()> makers = {
        {"int8", six<int8_t>},     {"int16", six<int16_t>},   {"int32", six<int32_t>},
        {"int64", six<int64_t>},   {"uint8", six<uint8_t>},   {"uint16", six<uint16_t>},
        {"uint32", six<uint32_t>}, {"uint64", six<uint64_t>}, {"float32", six<float>},
        {"float64", six<double>},  {"bool", six<bool>},       {"complex64", six<std::complex<float>>},
    };
    auto maker = makers.find(name);
    if (maker == makers.end())
        throw nb::key_error(name);
    return maker->second();
}

// Returned as it is, an imported array would be the very object that came in; so this is a view that keeps it.
static Array take(nb::ndarray<nb::ro> x) {
    auto *kept = new nb::ndarray<nb::ro>(x);
    nb::capsule owner(kept, [](void *p) noexcept { delete static_cast<nb::ndarray<nb::ro> *>(p); });
    std::vector<size_t> shape(x.shape_ptr(), x.shape_ptr() + x.ndim());
    return Array(const_cast<void *>(x.data_handle()), x.ndim(), shape.data(), owner, x.stride_ptr(), x.dtype(), x.device_type(),
                 x.device_id(), 'C', x.byte_offset());
}

static nb::str version() {
    return nb::str("{}.{}.{}").format(NB_VERSION_MAJOR, NB_VERSION_MINOR, NB_VERSION_PATCH);
}

NB_MODULE(nanobind_arrays, m) {
    m.def("make", make);
    m.def("readonly", readonly);
    m.def("large", large);
    m.def("view", view);
    m.def("of_type", of_type);
    m.def("take", take);
    m.def("version", version);
}
