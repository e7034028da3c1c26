# `make test` and `make demo` first do all the set-up that is missing; nothing is ever installed
# outside .venv. DISTRO=kilted or jazzy chooses the ROS 2 wheels, PYTHON the interpreter (3.10 to
# 3.12), ARGS is handed to pytest: make test DISTRO=jazzy ARGS='-k maps'
DISTRO ?= kilted
PYTHON ?= python3
ARGS ?=

VENV := .venv/$(DISTRO)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
INTERFACES := vpr_msgs test/interfaces/bond test/interfaces/tf2_msgs test/interfaces/rtabmap_msgs test/interfaces/slam_toolbox
MESSAGES := tools/python_messages.cmake $(wildcard $(INTERFACES:=/*) $(INTERFACES:=/*/*))

# A sourced ROS installation, or the environment we were started from, must not leak in.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONHOME
unexport PYTHONPATH RMW_IMPLEMENTATION ROS_DISTRO _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: setup lint test test-robot demo clean

setup: $(VENV)/.messages $(VENV)/.package

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest $(ARGS)

# The same tests beside what apt has on a robot with Ubuntu 24.04: NumPy 1.26, OpenCV 4.6, ...
test-robot: setup $(VENV)/robot/.versions
	PYTHONPATH=$(CURDIR)/$(VENV)/robot $(BIN)/pytest $(ARGS)

demo: setup
	$(BIN)/vpr demo --out demo_out

clean:
	rm -rf .venv build install log demo_out *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Each stamp says that one step is done; it is older than a file it depends on when it must be
# done again. Building without isolation keeps the build tools pinned, too.
$(VENV)/.wheels: requirements/common.txt requirements/alone.txt requirements/$(DISTRO).txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit("Python 3.10 to 3.12 is needed, found %d.%d: make PYTHON=python3.12" % v)'
	@echo 'set-up: ROS 2 $(DISTRO), torch and tools into $(VENV), once, some minutes'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c requirements/common.txt setuptools wheel
	@$(PIP) install --no-build-isolation -r requirements/$(DISTRO).txt
	@$(PIP) install --no-deps -r requirements/alone.txt
	@touch $@

$(VENV)/robot/.versions: requirements/robot.txt $(VENV)/.wheels
	@$(PIP) install --no-deps --upgrade --target $(VENV)/robot -r requirements/robot.txt
	@touch $@

$(VENV)/.messages: $(VENV)/.wheels tools/install_messages.py $(MESSAGES)
	@echo 'set-up: $(notdir $(INTERFACES))'
	@$(BIN)/python tools/install_messages.py $(INTERFACES)
	@touch $@

$(VENV)/.package: $(VENV)/.wheels setup.py setup.cfg
	@echo 'set-up: vpr_ros'
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@
