#pragma once

namespace sharder {

// The deleter of a unique_ptr to an object of a C library: calls Free, the library's own function.
//
//   using BioPtr = std::unique_ptr<BIO, DeleteWith<BIO_free_all>>;
template <auto Free>
struct DeleteWith {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

}  // namespace sharder
