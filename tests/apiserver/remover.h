#pragma once

#include <string>

#include "base/guarded.h"
#include "tests/apiserver/catalog.h"
#include "tests/apiserver/database.h"
#include "tests/apiserver/faults.h"
#include "tests/apiserver/request.h"

namespace sharder::apiserver {

// Deleting, and what follows from it: an object with finalizers stays until they are gone; what an object owned goes
// with it; a namespace takes its contents along, a CustomResourceDefinition its resource. All of it at once, where a
// cluster's controllers take a moment. Safe from any thread.
class Remover {
 public:
  Remover(Database& database, Published<Catalog>& catalog, const ServerClock& clock)
      : database_(database), catalog_(catalog), clock_(clock) {}

  Outcome<std::string> remove(const Request& request, const Route& route, const Resource& resource);
  // Those that the selectors of the request match; answers with their list.
  Outcome<std::string> remove_collection(const Request& request, const Route& route, const Resource& resource);

  // An object has gone from the store: the consequences.
  void gone(const Resource& resource, const Object& object);

 private:
  struct Options {
    std::string uid = {};
    std::string version = {};
    bool orphan = false;
    bool dry_run = false;
  };
  static Outcome<Options> options_of(const Request& request);
  // The object as it was last, or as it stays while it has finalizers.
  struct Removed {
    ObjectPtr object = {};
    bool gone = false;
  };
  Outcome<Removed> remove_one(const Resource& resource, const std::string& key, const Options& options);
  void collect(const std::string& uid, bool orphan);
  void remove_all_of(const std::string& bucket);

  Database& database_;
  Published<Catalog>& catalog_;
  const ServerClock& clock_;
};

}  // namespace sharder::apiserver
