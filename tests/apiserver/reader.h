#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "tests/apiserver/database.h"
#include "tests/apiserver/request.h"
#include "tests/apiserver/watch.h"

namespace sharder::apiserver {

// Reading: get, list and watch. Safe from any thread.
class Reader {
 public:
  struct Options {
    bool streaming_lists = true;
    std::chrono::milliseconds bookmark_interval{10'000};
  };
  Reader(Database& database, Options options) : database_(database), options_(options) {}

  Outcome<std::string> get(const Request& request, const Route& route, const Resource& resource) const;
  Outcome<std::string> list(const Request& request, const Route& route, const Resource& resource) const;
  Outcome<std::shared_ptr<WatchStream>> watch(const Request& request, const Route& route,
                                              const std::shared_ptr<const Resource>& resource) const;

 private:
  Database& database_;
  const Options options_;
};

// The filter of a list or watch; 400 for a malformed selector.
Outcome<Filter> filter_of(const Route& route, const ListOptions& options);

}  // namespace sharder::apiserver
