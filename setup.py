from glob import glob

from setuptools import find_packages, setup

NAME = 'vpr_ros'

setup(
    name=NAME,
    version='0.1.0',
    description='Visual place recognition for ROS 2: maps, live loop closures, training.',
    maintainer='vpr_ros maintainers',
    maintainer_email='vpr_ros@example.com',
    license='Apache-2.0',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['resource/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', sorted(glob('launch/*.py'))),
        (f'share/{NAME}/config', sorted(glob('config/*.yaml'))),
        (f'share/{NAME}/rviz', sorted(glob('rviz/*.rviz'))),
    ],
    python_requires='>=3.10',
    # What ROS provides (rclpy and messages) is named in package.xml only.
    install_requires=[
        'backports.zstd; python_version < "3.14"',
        'faiss-cpu',
        'lz4',
        'matplotlib',
        'numpy',
        'opencv-python-headless',
        'openvino',
        'pillow',
        'pyyaml',
        'rich',
        'rosbags',
        'safetensors',
        'scipy',
        'torch',
    ],
    extras_require={
        'export': ['onnx', 'onnxruntime', 'onnxscript'],
        'graph': ['evo', 'gtsam'],
        'test': ['pytest'],
        'train': ['tensorboard'],
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'vpr = vpr_ros.cli.main:main',
            'place_recognition = vpr_ros.nodes.place_recognition:main',
            'map_builder = vpr_ros.nodes.map_builder:main',
            'replay_evaluation = vpr_ros.nodes.replay_evaluation:main',
            'initial_pose = vpr_ros.nodes.sockets.initial_pose:main',
            'slam_toolbox_start = vpr_ros.nodes.sockets.slam_toolbox_start:main',
            'rtabmap_links = vpr_ros.nodes.sockets.rtabmap:main',
            'loop_closing = vpr_ros.nodes.sockets.loop_closing:main',
            'trainer = vpr_ros.nodes.trainer:main',
        ],
    },
)
