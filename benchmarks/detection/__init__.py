"""Are planted flaws found, how strong must they be, and is a sound reward left in peace?"""
