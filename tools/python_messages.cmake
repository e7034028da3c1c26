# Included where an interface package calls project(): of all the code that could be generated,
# only what Python loads. C++ would take a third of the time.
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
list(FILTER AMENT_EXTENSIONS_rosidl_generate_idl_interfaces EXCLUDE REGEX
  "^rosidl_(generator_cpp|typesupport_(cpp|fastrtps_cpp|introspection_cpp)):")
